"""Parlant's server by its SDK, everything in memory, with a model that takes no time."""

import asyncio
import types
from collections.abc import AsyncIterator, Mapping
from enum import Enum
from typing import Any, Literal, Union, get_args, get_origin

import parlant.sdk as p
from parlant.core.nlp.embedding import NullEmbedder
from parlant.core.nlp.generation import (
    SchematicGenerationResult,
    SchematicGenerator,
    StreamingTextGenerationResult,
    StreamingTextGenerator,
)
from parlant.core.nlp.generation_info import GenerationInfo, UsageInfo
from parlant.core.nlp.moderation import NoModeration
from parlant.core.nlp.tokenization import ZeroEstimatingTokenizer
from pydantic import BaseModel
from stub import PIECES, announce

INFO = GenerationInfo("stub", "stub", 0.0, UsageInfo(1, 1))


def example(kind: Any) -> Any:
    """The plainest value of a type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return None if type(None) in arguments else example(arguments[0])
    if origin is Literal:
        return arguments[0]
    kind = origin or kind
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = kind.model_fields.items()
        return kind(**{name: example(field.annotation) for name, field in fields if field.is_required()})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(iter(kind))
    return {str: "".join(PIECES), bool: False, int: 1, float: 1.0}.get(kind) if kind not in (list, dict) else kind()


class _Named:
    id = "stub"
    max_tokens = 8192
    tokenizer = ZeroEstimatingTokenizer()


class Schematic(_Named, SchematicGenerator[Any]):
    def __init__(self, schema: type[BaseModel]) -> None:
        self.__dict__["schema"] = schema

    async def generate(self, prompt: Any, hints: Mapping[str, Any] = {}) -> SchematicGenerationResult[Any]:
        return SchematicGenerationResult(example(self.schema), INFO)


class Streaming(_Named, StreamingTextGenerator):
    def generate(self, prompt: Any, hints: Mapping[str, Any] = {}) -> StreamingTextGenerationResult:
        async def pieces() -> AsyncIterator[str | None]:
            for piece in PIECES:
                yield piece
            yield None

        return StreamingTextGenerationResult(pieces(), lambda: INFO)


class Stub(p.NLPService):
    supports_streaming = True

    async def get_schematic_generator(self, t: type[BaseModel], hints: Any = None) -> SchematicGenerator[Any]:
        return type(f"{t.__name__}Stub", (Schematic,), {})(t)  # its container wants a class for each

    async def get_streaming_text_generator(self, hints: Any = None) -> StreamingTextGenerator:
        return Streaming()

    async def get_embedder(self, hints: Any = None) -> NullEmbedder:
        return NullEmbedder()

    async def get_moderation_service(self) -> NoModeration:
        return NoModeration()


async def main() -> None:
    server = p.Server(
        host="127.0.0.1",
        port=announce(),
        tool_service_port=0,
        nlp_service=lambda _container: Stub(),
        log_level=p.LogLevel.ERROR,
    )
    async with server:
        await server.create_agent(
            name="stub",
            description="Says words.",
            id="stub",
            output_mode=p.OutputMode.STREAM,
            max_engine_iterations=1,
            perceived_performance_policy=p.NullPerceivedPerformancePolicy(),
        )


if __name__ == "__main__":
    asyncio.run(main())
