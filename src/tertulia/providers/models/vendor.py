"""Every vendor that pydantic-ai knows, through its direct API. Needs the extra `vendors` and the vendor's own package.

https://ai.pydantic.dev/direct/. Keys come from the vendor's own variables (`ANTHROPIC_API_KEY`, ...).
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, aclosing
from typing import Any, cast

from msgspec import structs
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
from pydantic_ai.providers import Provider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.usage import RequestUsage

from tertulia.errors import (
    ModelError,
    ModelMisbehaved,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    PromptTooLong,
)
from tertulia.providers.base import Prompt, ProviderError, Report, Tokens, Turn
from tertulia.providers.models import calls, chat
from tertulia.providers.models import schema as schemas
from tertulia.providers.models.base import Lifespan
from tertulia.providers.models.calls import Trial
from tertulia.providers.models.params import DIRECT, Params
from tertulia.providers.models.thoughts import ThoughtFilter
from tertulia.providers.models.window import ContextWindow, Fitting, is_too_long
from tertulia.providers.remote import loggable
from tertulia.settings import Settings

_REFUSED = (vendor_errors.ModelRequestRejectedError, vendor_errors.UserError)
_LATE = (vendor_errors.ModelTimeoutError, vendor_errors.ModelRequestTimeout, TimeoutError)


class VendorModel:
    """A vendor's model. Of a prompt's parameters, those that pydantic-ai has for all vendors are sent.

    `stall_s` seconds without an event are a ModelTimeout. `window` is what the model can take of a conversation.
    """

    def __init__(self, model: Model, stall_s: float, window: ContextWindow | None = None) -> None:
        self._model = model
        self._stall_s = stall_s
        self._window = window or ContextWindow()
        self._spec = f"{model.system}:{model.model_name}"
        self._params = Params(model.model_name, DIRECT)
        self._trial = Trial(self._spec)
        self._begins_in_thought = False
        """True if its thoughts have no opening tag, as its last reply has shown."""

    async def aclose(self) -> None:
        """Give the vendor's connections back."""
        async with self._model:  # whose end closes them; a request opens them without it
            pass

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        """Ask for a reply. Return its pieces; a prompt that is too long is asked again without its oldest turns."""
        fitting = self._window.fit(prompt)
        given = False
        while True:
            try:
                async with aclosing(self._pieces(fitting.prompt)) as pieces:
                    async for piece in pieces:
                        given = True
                        yield piece
            except Exception as error:
                failure = _translated(error)
                if given or not isinstance(failure, PromptTooLong):
                    raise failure from error
                fitting.shorten(failure)
                prompt.tell("alive")
            else:
                fitting.accept()
                return

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        """Ask for a choice, as the call of a tool, which every vendor has. Return a value of the schema."""
        if prompt.functions is not None and await self._trial.passed(self._call):
            try:
                return await self._call(prompt)
            except (ModelMisbehaved, ModelRefused, PromptTooLong):
                prompt.tell("alive")
        tool = ToolDefinition(
            name="answer",
            description="Give your answer.",
            parameters_json_schema=schemas.strict(schema),
            kind="output",
        )
        form = ModelRequestParameters(output_mode="tool", output_tools=[tool], allow_text_output=False)
        fitting = self._window.fit(prompt)
        try:
            return _answer(await self._ask(fitting, form), schema)
        except ModelMisbehaved:
            prompt.tell("alive")
            return _answer(await self._ask(fitting, form), schema)

    async def _call(self, prompt: Prompt) -> Any:
        """Ask for calls of functions, in the vendor's own form. Return them as the question's schema has them."""
        if prompt.functions is None:
            raise ValueError("a prompt without functions")
        offered = [
            ToolDefinition(name=one.name, description=one.use, parameters_json_schema=dict(one.schema))
            for one in prompt.functions.functions
        ]
        fitting = self._window.fit(structs.replace(prompt, question=prompt.functions.question))
        response = await self._ask(fitting, ModelRequestParameters(function_tools=offered, allow_text_output=True))
        return calls.answer((part.tool_name, part.args) for part in response.parts if isinstance(part, ToolCallPart))

    async def _pieces(self, prompt: Prompt) -> AsyncGenerator[str]:
        """Read a reply. Return its pieces without thoughts, which are signs of life."""
        thoughts = ThoughtFilter(begins_in_thought=self._begins_in_thought)
        visible = False
        async with aclosing(self._events(prompt)) as events:
            async for event in events:
                piece = thoughts.feed(_text(event))
                if thoughts.taken_back:
                    thoughts.taken_back = visible = False
                    self._begins_in_thought = True  # the prompt's own may refuse to take anything back
                    prompt.tell("taken-back")
                if piece:
                    visible = True
                    yield piece
                else:
                    prompt.tell("alive")
        rest = thoughts.finish()
        self._begins_in_thought = thoughts.closed_alone
        if rest:
            yield rest
        elif not visible:
            raise ModelMisbehaved("an empty reply")

    async def _events(self, prompt: Prompt) -> AsyncGenerator[object]:
        async with AsyncExitStack() as stack:
            settings = self._settings(prompt)
            prompt.report(Report("asked", self._spec))
            request = model_request_stream(self._model, _messages(prompt), model_settings=settings)
            async with asyncio.timeout(self._stall_s):
                response = await stack.enter_async_context(request)
            events = aiter(response)
            while True:
                async with asyncio.timeout(self._stall_s):
                    event = await anext(events, None)
                if event is None:
                    prompt.report(Report("answered", self._spec, tokens=_tokens(response.usage)))
                    self._judge_end(prompt, response.finish_reason)
                    return
                yield event

    def _judge_end(self, prompt: Prompt, reason: str | None) -> None:
        if reason == "error":
            raise ModelUnavailable("the reply was broken off")
        if reason == "length" or reason == "content_filter":  # noqa: PLR1714 - narrows the type
            chat.report_cut(self._model.model_name, self._model.system, reason)
            prompt.tell(reason)

    async def _ask(self, fitting: Fitting, form: ModelRequestParameters) -> ModelResponse:
        """Ask for a whole answer. Return it; a prompt that is too long is asked again without its oldest turns."""
        while True:
            fitting.prompt.report(Report("asked", self._spec))
            try:
                async with asyncio.timeout(self._stall_s):
                    response = await model_request(
                        self._model,
                        _messages(fitting.prompt),
                        model_settings=self._settings(fitting.prompt),
                        model_request_parameters=form,
                    )
            except Exception as error:
                failure = _translated(error)
                if not isinstance(failure, PromptTooLong):
                    raise failure from error
                fitting.shorten(failure)
                fitting.prompt.tell("alive")
            else:
                fitting.prompt.report(Report("answered", self._spec, _said(response), _tokens(response.usage)))
                self._judge_end(fitting.prompt, response.finish_reason)
                fitting.accept()
                return response

    def _settings(self, prompt: Prompt) -> ModelSettings:
        return cast("ModelSettings", self._params.of(prompt.interaction, prompt.params))


def open_vendor(spec: str, settings: Settings, lifespan: Lifespan) -> VendorModel:
    """Open the model that pydantic-ai knows as `spec`, e.g. `anthropic:claude-haiku-4-5`.

    All models of a vendor share its connections.

    Raises:
        ProviderError: there is no such vendor, or its package or key is missing.
    """
    vendor = spec.partition(":")[0]
    shared: Provider[Any] | None = lifespan.shared.get(vendor)
    try:
        opened = infer_model(spec) if shared is None else infer_model(spec, lambda _name: shared)
    except (vendor_errors.UserError, ImportError, ValueError) as error:
        text = " ".join(str(error).split())
        raise ProviderError(f"The model {spec!r} cannot be opened: {text}") from None
    model = VendorModel(opened, settings.turn.stall_s, ContextWindow(settings.window(spec)))
    if shared is None:
        lifespan.shared[vendor] = opened.provider
        lifespan.closes.append(model.aclose)
    return model


def _messages(prompt: Prompt) -> list[ModelMessage]:
    system = [SystemPromptPart(prompt.system)] if prompt.system else []
    return [ModelRequest(parts=system), *map(_message, prompt.asked)]


def _message(turn: Turn) -> ModelMessage:
    if turn.role == "user":
        return ModelRequest(parts=[UserPromptPart(turn.content)])
    return ModelResponse(parts=[TextPart(turn.content)])


def _text(event: object) -> str:
    """Read the text that an event adds to the reply. Return an empty text for a thought."""
    match event:
        case PartStartEvent(part=TextPart(content=text)) | PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
            return text
        case _:
            return ""


def _answer(response: ModelResponse, schema: Mapping[str, Any]) -> Any:
    return chat.answer(_said(response), schema)


def _said(response: ModelResponse) -> str:
    """Return the raw answer: the arguments of the tool's call, or the text if there was none."""
    for part in response.parts:
        if isinstance(part, ToolCallPart):
            return part.args_as_json_str()
    return "".join(part.content for part in response.parts if isinstance(part, TextPart))


def _tokens(usage: RequestUsage) -> Tokens:
    """Read what a vendor counted. Return the tokens; a vendor that counts nothing leaves zeros."""
    return Tokens(usage.input_tokens or None, usage.output_tokens or None, usage.cache_read_tokens or None)


def _translated(error: Exception) -> ModelError:
    """Translate a vendor's error into one of ours. Packages of vendors raise kinds of their own: the vendor failed."""
    reason = loggable(f"{type(error).__name__}: {error}")
    if isinstance(error, ModelError):
        return error
    if _says_too_long(error):
        return PromptTooLong(reason)
    if isinstance(error, _LATE):
        return ModelTimeout(reason)
    if isinstance(error, _REFUSED):
        return ModelRefused(reason)
    if isinstance(error, vendor_errors.UnexpectedModelBehavior):
        return ModelMisbehaved(reason)
    return ModelUnavailable(reason)


def _says_too_long(error: Exception) -> bool:
    if isinstance(error, vendor_errors.ModelContextWindowExceededError):
        return True
    return isinstance(error, vendor_errors.ModelHTTPError) and (
        error.status_code == 413 or (error.status_code in (400, 422, 500) and is_too_long(str(error)))
    )
