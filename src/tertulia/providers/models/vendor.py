"""Every vendor that pydantic-ai knows, through its direct API. Needs the extra `vendors` and the vendor's own package.

https://ai.pydantic.dev/direct/. Keys come from the vendor's own variables (`ANTHROPIC_API_KEY`, ...).
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any, cast

from pydantic_ai import exceptions as vendor_errors
from pydantic_ai.direct import model_request, model_request_stream
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    SystemPromptPart,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, infer_model
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition

from tertulia.errors import ModelError, ModelMisbehaved, ModelRefused, ModelTimeout, ModelUnavailable
from tertulia.providers.base import Prompt, ProviderError, Turn
from tertulia.providers.models import chat
from tertulia.providers.models import schema as schemas

_LOGGED_CHARS = 300
_PARAMS = (
    "frequency_penalty",
    "max_tokens",
    "presence_penalty",
    "seed",
    "stop_sequences",
    "temperature",
    "thinking",
    "top_k",
    "top_p",
)
_REFUSED = (vendor_errors.ModelRequestRejectedError, vendor_errors.UserError)
_LATE = (vendor_errors.ModelTimeoutError, vendor_errors.ModelRequestTimeout, TimeoutError)


class VendorModel:
    """A vendor's model. Of a prompt's parameters, those that pydantic-ai has for all vendors are sent.

    `stall_s` seconds without an event are a ModelTimeout.
    """

    def __init__(self, model: Model, stall_s: float) -> None:
        self._model = model
        self._stall_s = stall_s

    async def start(self) -> None:
        await self._model.__aenter__()

    async def aclose(self) -> None:
        await self._model.__aexit__(None, None, None)

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        spoken = False
        try:
            async with aclosing(self._events(prompt)) as events:
                async for text in events:
                    if text:
                        spoken = True
                        yield text
        except Exception as error:
            raise _translated(error) from error
        if not spoken:
            raise ModelMisbehaved("an empty reply")

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        """The choice is made as the call of a tool, which every vendor has."""
        tool = ToolDefinition(
            name="answer",
            description="Give your answer.",
            parameters_json_schema=schemas.strict(schema),
            kind="output",
        )
        form = ModelRequestParameters(output_mode="tool", output_tools=[tool], allow_text_output=False)
        try:
            return _answer(await self._ask(prompt, form), schema)
        except ModelMisbehaved:
            return _answer(await self._ask(prompt, form), schema)

    async def _events(self, prompt: Prompt) -> AsyncGenerator[str]:
        async with AsyncExitStack() as stack:
            request = model_request_stream(self._model, _messages(prompt), model_settings=_settings(prompt))
            async with asyncio.timeout(self._stall_s):
                events = aiter(await stack.enter_async_context(request))
            while True:
                async with asyncio.timeout(self._stall_s):
                    event = await anext(events, None)
                if event is None:
                    return
                yield _text(event)

    async def _ask(self, prompt: Prompt, form: ModelRequestParameters) -> ModelResponse:
        try:
            async with asyncio.timeout(self._stall_s):
                return await model_request(
                    self._model,
                    _messages(prompt),
                    model_settings=_settings(prompt),
                    model_request_parameters=form,
                )
        except Exception as error:
            raise _translated(error) from error


def open_vendor(spec: str, stall_s: float) -> VendorModel:
    """The model that pydantic-ai knows as `spec`, e.g. `anthropic:claude-haiku-4-5`."""
    try:
        return VendorModel(infer_model(spec), stall_s)
    except (vendor_errors.UserError, ImportError, ValueError) as error:
        text = " ".join(str(error).split())
        raise ProviderError(f"The model {spec!r} cannot be opened: {text}") from None


def _messages(prompt: Prompt) -> list[ModelMessage]:
    system = [SystemPromptPart(prompt.system)] if prompt.system else []
    return [ModelRequest(parts=system), *map(_message, prompt.turns)]


def _message(turn: Turn) -> ModelMessage:
    if turn.role == "user":
        return ModelRequest(parts=[UserPromptPart(turn.content)])
    return ModelResponse(parts=[TextPart(turn.content)])


def _settings(prompt: Prompt) -> ModelSettings:
    return cast("ModelSettings", {name: prompt.params[name] for name in _PARAMS if name in prompt.params})


def _text(event: object) -> str:
    """The text that an event adds to the reply; thoughts are not part of it."""
    match event:
        case PartStartEvent(part=TextPart(content=text)) | PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
            return text
        case _:
            return ""


def _answer(response: ModelResponse, schema: Mapping[str, Any]) -> Any:
    for part in response.parts:
        if isinstance(part, ToolCallPart):
            return chat.answer(part.args_as_json_str(), schema)
    return chat.answer("".join(part.content for part in response.parts if isinstance(part, TextPart)), schema)


def _translated(error: Exception) -> ModelError:
    """A vendor's error as one of ours. Packages of vendors raise their own kinds too: those mean that it failed us."""
    reason = f"{type(error).__name__}: {error}"[:_LOGGED_CHARS]
    if isinstance(error, ModelError):
        return error
    if isinstance(error, _LATE):
        return ModelTimeout(reason)
    if isinstance(error, _REFUSED):
        return ModelRefused(reason)
    if isinstance(error, vendor_errors.UnexpectedModelBehavior):
        return ModelMisbehaved(reason)
    return ModelUnavailable(reason)
