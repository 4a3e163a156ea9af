"""Vendors through pydantic-ai, whose own models for tests stand in for them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx2
import pytest
from pydantic_ai import exceptions as vendor_errors
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.models.test import TestModel as FakeModel
from pydantic_ai.providers import Provider

from tertulia.errors import ModelError, ModelMisbehaved, ModelRefused, ModelTimeout, ModelUnavailable
from tertulia.providers.base import Prompt, Sign, Turn
from tertulia.providers.models import vendor
from tertulia.providers.models.registry import open_models
from tertulia.providers.models.vendor import VendorModel
from tertulia.settings import Settings

PROMPT = Prompt("EngageUser", "Be brief.", [Turn("user", "Hello"), Turn("assistant", "Yes?"), Turn("user", "Bye")])
SCHEMA = {"type": "object", "properties": {"choice": {"enum": ["exit-1"]}}, "required": ["choice"]}


def raising(error: Exception) -> VendorModel:
    async def stream(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
        raise error
        yield ""

    def answer(_messages: list[ModelMessage], _info: AgentInfo) -> ModelResponse:
        raise error

    return VendorModel(FunctionModel(answer, stream_function=stream), 5)


def answering(*responses: ModelResponse) -> tuple[VendorModel, list[AgentInfo]]:
    seen: list[AgentInfo] = []

    def answer(_messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        seen.append(info)
        return responses[len(seen) - 1]

    return VendorModel(FunctionModel(answer), 5), seen


def tool_call(**values: Any) -> ModelResponse:
    return ModelResponse(parts=[ToolCallPart("answer", values)])


async def test_a_reply_arrives_in_pieces_and_the_whole_prompt_reaches_the_vendor():
    seen: list[tuple[list[ModelMessage], AgentInfo]] = []

    async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[str]:
        seen.append((messages, info))
        for piece in ("Good ", "", "bye"):
            yield piece

    prompt = Prompt("EngageUser", PROMPT.system, PROMPT.turns, {"temperature": 0.5, "extra_headers": {"a": "b"}})
    model = VendorModel(FunctionModel(stream_function=stream), 5)
    assert [piece async for piece in model.stream(prompt)] == ["Good ", "bye"]
    await model.aclose()
    messages, info = seen[0]
    parts: list[Any] = [part for message in messages for part in message.parts]
    assert [(part.part_kind, part.content) for part in parts] == [
        ("system-prompt", "Be brief."),
        ("user-prompt", "Hello"),
        ("text", "Yes?"),
        ("user-prompt", "Bye"),
    ]
    assert info.model_settings == {"temperature": 0.5}


class OwnProvider(Provider[None]):
    """A vendor that opens connections of its own, as those of pydantic-ai do."""

    def __init__(self) -> None:
        super().__init__()
        self._own_http_client = self.connections = httpx2.AsyncClient()
        self._http_client_factory = httpx2.AsyncClient

    @property
    def name(self) -> str:
        return "acme"

    @property
    def base_url(self) -> str:
        return ""

    @property
    def client(self) -> None:
        return None


class OwnModel(FakeModel):
    def __init__(self, provider: OwnProvider) -> None:
        super().__init__(custom_output_text="Hello")
        self._connected = provider

    @property
    def provider(self) -> Any:
        return self._connected


async def test_the_connections_of_a_vendor_are_closed_with_the_models(monkeypatch: pytest.MonkeyPatch):
    provider = OwnProvider()

    def infer_model(*_: object) -> OwnModel:
        return OwnModel(provider)

    monkeypatch.setattr(vendor, "infer_model", infer_model)
    models = open_models(Settings(model=("acme:large", "acme:small")))
    await models.start()
    assert "".join([piece async for piece in models.default.stream(PROMPT)]) == "Hello"
    assert not provider.connections.is_closed
    await models.aclose()
    assert provider.connections.is_closed


async def test_a_consumer_that_stops_closes_the_stream():
    closed = asyncio.Event()

    async def stream(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
        try:
            while True:
                yield "on and on "
                await asyncio.sleep(0)
        finally:
            closed.set()

    async with aclosing(VendorModel(FunctionModel(stream_function=stream), 5).stream(PROMPT)) as pieces:
        await anext(pieces)
    await asyncio.wait_for(closed.wait(), 5)


async def test_a_vendor_that_gives_nothing_in_time_has_stalled():
    async def stream(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
        yield "Hi"
        await asyncio.Event().wait()

    pieces = VendorModel(FunctionModel(stream_function=stream), 0.1).stream(PROMPT)
    assert await anext(pieces) == "Hi"
    with pytest.raises(ModelTimeout):
        await anext(pieces)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (vendor_errors.ModelTimeoutError("m", "late"), ModelTimeout),
        (vendor_errors.ModelAuthenticationError("m", "key?"), ModelRefused),
        (vendor_errors.ModelNotFoundError("m", "which?"), ModelRefused),
        (vendor_errors.UserError("no"), ModelRefused),
        (vendor_errors.ModelRateLimitError("m", "slow down"), ModelUnavailable),
        (vendor_errors.UnexpectedModelBehavior("what?"), ModelMisbehaved),
        (OSError("gone"), ModelUnavailable),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else type(value).__name__,
)
async def test_a_vendor_s_error_becomes_one_of_ours(error: Exception, kind: type[ModelError]):
    with pytest.raises(kind):
        await anext(raising(error).stream(PROMPT))
    with pytest.raises(kind):
        await raising(error).choose(PROMPT, SCHEMA)


async def test_an_empty_reply_is_misbehaviour():
    with pytest.raises(ModelMisbehaved):
        await anext(VendorModel(FakeModel(custom_output_text=""), 5).stream(PROMPT))


async def test_a_choice_is_made_as_the_call_of_a_tool():
    model, seen = answering(tool_call(choice="exit-1"))
    assert await model.choose(PROMPT, SCHEMA) == {"choice": "exit-1"}
    assert [tool.parameters_json_schema for tool in seen[0].output_tools] == [{**SCHEMA, "additionalProperties": False}]


async def test_an_answer_of_another_form_is_asked_for_once_more():
    words = ModelResponse(parts=[TextPart("I choose exit-1")])
    model, _ = answering(words, ModelResponse(parts=[TextPart('{"choice": "exit-1"}')]))
    assert await model.choose(PROMPT, SCHEMA) == {"choice": "exit-1"}
    model, _ = answering(words, tool_call(choice="other"))
    with pytest.raises(ModelMisbehaved):
        await model.choose(PROMPT, SCHEMA)


async def test_a_vendor_s_model_whose_thoughts_were_spoken_once_is_held_back_from_then_on():
    async def stream(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
        for piece in ("I should greet.", "</thinking>", "Hello."):
            yield piece

    def refuse(sign: Sign) -> None:
        if sign == "taken-back":
            raise ModelMisbehaved("it was heard")

    model = VendorModel(FunctionModel(stream_function=stream), 5)
    spoken = Prompt("EngageUser", PROMPT.system, PROMPT.turns, tell=refuse)
    with pytest.raises(ModelMisbehaved):
        _ = [piece async for piece in model.stream(spoken)]
    assert [piece async for piece in model.stream(spoken)] == ["Hello."]
