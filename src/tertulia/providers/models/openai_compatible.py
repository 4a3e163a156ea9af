"""Any server that speaks OpenAI's chat completions: the hot path of a streamed reply.

https://platform.openai.com/docs/api-reference/chat-streaming; also vLLM, Ollama, llama.cpp's server and others.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import cached_property
from typing import Any

import httpx2
import msgspec
import structlog
from structlog.typing import FilteringBoundLogger

from tertulia.errors import (
    ModelError,
    ModelMisbehaved,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    PromptTooLong,
)
from tertulia.providers import remote
from tertulia.providers.base import UNCOUNTED, Prompt, ProviderError, Report, unreported
from tertulia.providers.models import calls, chat, completions
from tertulia.providers.models.base import Lifespan, Vendor
from tertulia.providers.models.calls import Trial
from tertulia.providers.models.forms import Forms, formatted
from tertulia.providers.models.params import (
    BOOLEAN,
    COUNT,
    NUMBER,
    SAMPLING,
    SHARE,
    STOP,
    WORD,
    Known,
    Params,
    schema_of,
)
from tertulia.providers.models.reading import Reading
from tertulia.providers.models.window import ContextWindow, Fitting, is_too_long
from tertulia.settings import Settings

_AFTER_THE_END_S = 3
_MAX_ANSWER_BYTES = 4 << 20
_STREAM_BEGINS = (b"data:", b"event:", b":")
_OPENAI = "api.openai.com"
_TOO_LARGE = 413
_ANSWERED = frozenset({200, 201, 203})
"""Statuses of answers: servers of some frameworks and proxies have others than 200 for one."""
_FORM_REFUSED = frozenset({400, 404, 415, 422, 500, 501})
_STRICT = frozenset({400, 422})
_MAY_BE_LENGTH = frozenset({200, 400, 413, 422, 500})
_BOUNDS = frozenset({"max_completion_tokens", "max_tokens"})
_PARAMS: Known = {
    **SAMPLING,
    "enable_thinking": BOOLEAN,
    "max_completion_tokens": COUNT,
    "min_p": SHARE,
    "reasoning_effort": WORD,
    "repetition_penalty": NUMBER,
    "stop": STOP,
    "verbosity": WORD,
}

_log: FilteringBoundLogger = structlog.get_logger(__name__)


class OpenAICompatibleModel:
    """A model of a server that speaks chat completions, below the client's base address.

    `stall_s` seconds without a sign of life are a ModelTimeout. `secret` is cut out of all that is logged. `window` is
    what the model can take of a conversation.
    """

    def __init__(
        self,
        client: httpx2.AsyncClient,
        name: str,
        stall_s: float,
        secret: str = "",
        window: ContextWindow | None = None,
    ) -> None:
        self._client = client
        self._name = name
        self._spec = f"openai:{name}"
        self._address = remote.shown_address(str(client.base_url))
        self._stall_s = stall_s
        self._secret = secret
        self._window = window or ContextWindow()
        self._params = Params(name, _PARAMS)
        self._forms = Forms()
        self._trial = Trial(self._spec)
        self._counts: bool | None = None
        """True if the server takes the wish to count tokens in a stream, False if it may not; None: nobody knows."""
        self._begins_in_thought = False
        """True if its thoughts have no opening tag, as its last reply or choice has shown."""

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        """Ask for a reply. Return its pieces; a prompt that is too long is asked again without its oldest turns."""
        fitting = self._window.fit(prompt)
        given = False
        while True:
            try:
                async with aclosing(self._batches(fitting)) as batches:
                    async for pieces in batches:
                        given = True
                        for piece in pieces:
                            yield piece
                return
            except PromptTooLong as refusal:
                if given:
                    raise
                fitting.shorten(refusal)
            except _Refusal as refusal:
                if self._counts is None and refusal.status in _STRICT and self._wants_count(prompt):
                    self._counts = False
                elif not fitting.repeat(refusal.error):
                    _guess(fitting, refusal)
            except Exception as error:
                raise chat.unexpected(error) from error
            prompt.tell("alive")

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        """Ask for a choice. Return a value of the schema; an answer that is none is asked for once more."""
        fitting = self._window.fit(prompt)
        try:
            if prompt.functions is not None and await self._trial.passed(self._call):
                try:
                    return await self._call(prompt)
                except (ModelMisbehaved, ModelRefused, PromptTooLong):
                    prompt.tell("alive")
            try:
                return chat.answer(await self._complete(fitting, schema), schema)
            except ModelMisbehaved:
                prompt.tell("alive")
                return chat.answer(await self._complete(fitting, schema), schema)
        except Exception as error:
            raise chat.unexpected(error) from error

    async def _call(self, prompt: Prompt) -> Any:
        """Ask for calls of functions, in the form that servers have for them. Return them as the question's schema has.

        Raises:
            ModelError: there are none; ModelRefused too if the server takes no functions.
        """
        if prompt.functions is None:
            raise ValueError("a prompt without functions")
        asked = self._window.fit(msgspec.structs.replace(prompt, question=prompt.functions.question)).prompt
        body = {**self._body(asked, stream=False), "tools": calls.requested(prompt.functions.functions)}
        try:
            content = await self._content(asked, body)
        except _Refusal as refusal:
            raise ModelRefused(refusal.error.reason) from None
        made = calls.read(content)
        tokens = completions.read(content)
        prompt.report(Report("answered", self._spec, json.dumps(made), tokens.tokens if tokens else UNCOUNTED))
        return made

    async def _batches(self, fitting: Fitting) -> AsyncGenerator[list[str]]:
        """Read a reply. Return its pieces as they arrive, several at once if they came together."""
        prompt = fitting.prompt
        body = self._body(prompt, stream=True)
        prompt.report(Report("asked", self._spec))
        reading = Reading(self._stall_s, begins_in_thought=self._begins_in_thought)
        async with self._post(body) as response, aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                pieces = reading.feed(chunk)
                if reading.taken_back or not pieces:
                    self._tell(prompt, reading)
                if pieces:
                    yield pieces
                if reading.done or reading.reason:
                    break
            more = bool(reading.reason)
            pieces = []
            while more and not reading.done:
                chunk = await self._after_the_end(chunks, whole=not pieces)
                pieces = reading.feed(chunk)
                self._tell(prompt, reading)
                more = bool(chunk)
                if pieces:
                    yield pieces
            if reading.done:
                await remote.drain(chunks)
        pieces = self._finish(prompt, reading, response)
        fitting.accept()
        self._note_count(body)
        prompt.report(Report("answered", self._spec, tokens=reading.tokens))
        self._tell(prompt, reading)
        if pieces:
            yield pieces

    def _note_count(self, body: Mapping[str, Any]) -> None:
        """Note that the server has taken a request's wish to count tokens, if it had one."""
        self._counts = True if "stream_options" in body else self._counts

    def _wants_count(self, prompt: Prompt) -> bool:
        """Return True if the server is to count the tokens of a stream: somebody reads the count, and it may."""
        return prompt.report is not unreported and self._counts is not False

    async def _after_the_end(self, chunks: AsyncGenerator[bytes], *, whole: bool) -> bytes:
        """Read on after a reason to finish. Return what comes, and nothing at the end of the stream.

        If the reply is `whole` by what was read so far, silence and a cut are an end too.
        """
        if not whole:
            return await anext(chunks, b"")
        try:
            async with asyncio.timeout(_AFTER_THE_END_S):
                return await anext(chunks, b"")
        except (TimeoutError, httpx2.HTTPError):
            return b""

    def _tell(self, prompt: Prompt, reading: Reading) -> None:
        """Pass on the signs of a reply."""
        progress, reading.progress = reading.progress, False
        if reading.taken_back:
            reading.taken_back = False
            self._begins_in_thought = True  # the prompt's own may refuse to take anything back, and end the reply
            prompt.tell("taken-back")
        elif progress:
            prompt.tell("alive")

    def _finish(self, prompt: Prompt, reading: Reading, response: httpx2.Response) -> list[str]:
        """End a reply. Return the pieces that were held.

        Raises:
            ModelError: the reply has not ended as it should; a _Refusal if the prompt may have left no room for it.
        """
        try:
            pieces = reading.finish()
        except ModelMisbehaved as error:
            if reading.had_no_room and _BOUNDS.isdisjoint(prompt.params):
                raise _Refusal(200, error) from None
            raise
        finally:
            if reading.foreign:
                self._report_foreign(response, reading.foreign)
        self._begins_in_thought = reading.began_in_thought
        if reading.reason not in ("", "stop"):
            chat.report_cut(self._name, self._address, reading.reason)
            prompt.tell(reading.reason)
        return pieces

    def _report_foreign(self, response: httpx2.Response, words: str) -> None:
        _log.warning(
            "A model's server answered with something else than what was asked for.",
            model=self._name,
            address=self._address,
            status=response.status_code,
            content_type=self._safe(response.headers.get("content-type", "")),
            words=self._safe(words),
        )

    async def _complete(self, fitting: Fitting, schema: Mapping[str, Any]) -> str:
        """Ask for a whole answer. Return its text; if the prompt is too long, its oldest turns are left out."""
        while True:
            try:
                text = await self._complete_in_form(fitting.prompt, schema)
            except PromptTooLong as refusal:
                fitting.shorten(refusal)
            except _Refusal as refusal:
                _guess(fitting, refusal)
            else:
                fitting.accept()
                self._begins_in_thought = self._begins_in_thought or chat.begins_in_thought(text)
                return text
            fitting.prompt.tell("alive")

    async def _complete_in_form(self, prompt: Prompt, schema: Mapping[str, Any]) -> str:
        """Ask for a whole answer in the strictest form that the server takes. Return its text."""
        refusals: list[_Refusal] = []
        for form in self._forms.to_try():
            try:
                text = await self._ask(prompt, formatted(self._body(prompt, stream=False), form, schema))
            except _Refusal as refusal:
                if refusal.status not in _FORM_REFUSED:
                    raise
                refusals.append(refusal)
                prompt.tell("alive")
            else:
                self._forms.note(form, [refusal.status for refusal in refusals])
                return text
        raise refusals[0]

    async def _content(self, prompt: Prompt, body: dict[str, Any]) -> bytes:
        """Ask for a whole answer. Return its content as it comes."""
        prompt.report(Report("asked", self._spec))
        async with _deadline(self._stall_s), self._post(body) as response:
            return await _read_whole(response)

    async def _ask(self, prompt: Prompt, body: dict[str, Any]) -> str:
        prompt.report(Report("asked", self._spec))
        async with _deadline(self._stall_s), self._post(body) as response:
            content = await _read_whole(response)
        if content.lstrip().startswith(_STREAM_BEGINS):  # a server that always streams
            reading = Reading(self._stall_s)
            try:
                text = "".join([*reading.feed(content), *reading.finish()])
            finally:
                if reading.foreign:
                    self._report_foreign(response, reading.foreign)
            prompt.report(Report("answered", self._spec, text, reading.tokens))
            return text
        try:
            completion = completions.read(content)
            choice = None if completion is None else completions.ours(completion)
        except ModelError:
            self._report_foreign(response, content[: remote.MAX_ERROR_BYTES].decode(errors="replace"))
            raise
        if completion is None or choice is None or (choice.message is None and choice.delta is None):
            self._report_foreign(response, content[: remote.MAX_ERROR_BYTES].decode(errors="replace"))
            return ""
        reason = completions.finish_reason(choice)
        if reason not in ("", "stop"):
            chat.report_cut(self._name, self._address, reason)
        message = choice.message or choice.delta
        text = completions.join_halves((message.content if message else None) or "")[0]
        prompt.report(Report("answered", self._spec, text, completion.tokens))
        return text

    def _body(self, prompt: Prompt, *, stream: bool) -> dict[str, Any]:
        params = self._params.of(prompt.interaction, prompt.params)
        if stream and self._wants_count(prompt):
            params["stream_options"] = {"include_usage": True}
        return {**params, "model": self._name, "messages": chat.messages(prompt), "stream": stream}

    @asynccontextmanager
    async def _post(self, body: dict[str, Any]) -> AsyncGenerator[httpx2.Response]:
        """Send a request. Return the response if the server has accepted it, closed at the end of the block.

        Raises:
            ModelError: whatever went wrong, but for a status that another request may avoid: that is a _Refusal.
        """
        response: httpx2.Response | None = None
        try:
            known = self._request
            request = httpx2.Request(
                "POST", known.url, headers=known.headers, content=_encode(body), extensions=known.extensions
            )
            async with _deadline(remote.CONNECT_S + self._stall_s):
                response = await self._client.send(request, stream=True)
            if response.status_code not in _ANSWERED:
                raise await self._failure(response)
            yield response
        except httpx2.TimeoutException as error:
            connecting = isinstance(error, httpx2.ConnectTimeout | httpx2.PoolTimeout)
            raise (ModelUnavailable if connecting else ModelTimeout)(type(error).__name__) from None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise ModelUnavailable(self._safe(f"{type(error).__name__}: {error}")) from None
        finally:
            if response is not None:
                await response.aclose()

    @cached_property
    def _request(self) -> httpx2.Request:
        """A request without its body, made once: its address and headers cost as much as sending it.

        A cookie that another model's answer has set would be in all of them for ever.
        """
        request = self._client.build_request("POST", "chat/completions")
        del request.headers["Content-Length"]
        request.headers.pop("Cookie", None)
        return request

    async def _failure(self, response: httpx2.Response) -> Exception:
        status = response.status_code
        content = bytearray()
        async with _deadline(self._stall_s), aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                content += chunk
                if len(content) > remote.MAX_ERROR_BYTES:
                    break
        words = content[: remote.MAX_ERROR_BYTES].decode(errors="replace")
        reason = self._safe(f"status {status}: {words}")
        if _says_too_long(status, words):
            return PromptTooLong(reason)
        if status in (408, 504):
            return ModelTimeout(reason)
        error = ModelUnavailable(reason) if status == 429 or status >= 500 else ModelRefused(reason)
        return _Refusal(status, error) if status in _FORM_REFUSED | _MAY_BE_LENGTH else error

    def _safe(self, text: str) -> str:
        return remote.loggable(text, self._secret)


class _Refusal(Exception):
    """An answer that finds the request wrong, or leaves it empty: another form or a shorter prompt may do."""

    def __init__(self, status: int, error: ModelError) -> None:
        super().__init__(error.reason)
        self.status = status
        self.error = error


def open_client(base_url: str, api_key: str, stall_s: float) -> httpx2.AsyncClient:
    """Open a pool of connections to one server. Return its client.

    Raises:
        ProviderError: the proxy of the environment is none.
    """
    headers = {"Content-Type": "application/json"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    return remote.open_client(base_url, headers, stall_s)


def _open(name: str, settings: Settings, lifespan: Lifespan) -> OpenAICompatibleModel:
    key = settings.openai.api_key.get_secret_value()
    url = settings.openai.base_url
    if not name:
        raise ProviderError("The model's name is missing: openai:NAME.")
    remote.check_access("OPENAI", url, key)
    if not key and httpx2.URL(url).host == _OPENAI:
        raise ProviderError(
            f"The model openai:{name} needs a key: set OPENAI_API_KEY, or TERTULIA_OPENAI_BASE_URL for another server."
        )
    client: httpx2.AsyncClient | None = lifespan.shared.get("openai")
    if client is None:
        client = lifespan.shared["openai"] = open_client(url, key, settings.turn.stall_s)
        lifespan.closes.append(client.aclose)
    return OpenAICompatibleModel(
        client, name, settings.turn.stall_s, key, ContextWindow(settings.window(f"openai:{name}"))
    )


VENDOR = Vendor(
    "openai",
    _open,
    "",
    "any server that speaks OpenAI's chat completions",
    lambda settings: bool(settings.openai.api_key.get_secret_value()),
    schema_of(_PARAMS),
)


async def _read_whole(response: httpx2.Response) -> bytes:
    """Read the content of an answer. Return it; raises ModelMisbehaved if it does not end."""
    content = bytearray()
    async with aclosing(response.aiter_bytes()) as chunks:
        async for chunk in chunks:
            content += chunk
            if len(content) > _MAX_ANSWER_BYTES:
                raise ModelMisbehaved("the answer is too long")
    return bytes(content)


def _guess(fitting: Fitting, refusal: _Refusal) -> None:
    """Shorten a prompt that may have been refused for its length.

    Raises:
        ModelError: the server's refusal, for it has another reason.
    """
    if refusal.status not in _MAY_BE_LENGTH:
        raise refusal.error from None
    fitting.guess(refusal.error)


def _says_too_long(status: int, words: str) -> bool:
    if status in (_TOO_LARGE, 414):
        return True
    if status == 429:  # a limit of tokens a minute speaks of lengths too
        return "too large" in words
    return status in (400, 404, 422, 500) and is_too_long(words)


def _encode(body: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (TypeError, ValueError, RecursionError):
        raise ModelRefused("the prompt cannot be written as JSON") from None


@asynccontextmanager
async def _deadline(seconds: float) -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ModelTimeout(f"nothing in {seconds} s") from None
