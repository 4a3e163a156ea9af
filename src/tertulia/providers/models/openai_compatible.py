"""Any server that speaks OpenAI's chat completions: the hot path of a streamed reply.

https://platform.openai.com/docs/api-reference/chat-streaming; also vLLM, Ollama, llama.cpp's server and others.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

import httpx2
import msgspec

from tertulia.errors import ModelError, ModelMisbehaved, ModelRefused, ModelTimeout, ModelUnavailable
from tertulia.providers import remote
from tertulia.providers.base import Prompt
from tertulia.providers.models import chat
from tertulia.providers.models import schema as schemas

CONNECT_S = 10
_DRAIN_S = 0.2
_MAX_LINE_BYTES = 1 << 20
_MAX_STREAM_BYTES = 64 << 20
_MAX_REPLY_CHARS = 2_000_000
_MAX_ANSWER_BYTES = 4 << 20
_MAX_ERROR_BYTES = 16 << 10
_LOGGED_CHARS = 300
_FORMATS = ("json_schema", "json_object", "text")


class _Delta(msgspec.Struct, gc=False):
    content: str | None = None


class _Choice(msgspec.Struct, gc=False):
    delta: _Delta | None = None
    message: _Delta | None = None
    finish_reason: str | None = None
    index: int = 0


class _Chunk(msgspec.Struct, gc=False):
    """A piece of a streamed completion, or a whole one; some servers send an error in its place."""

    choices: list[_Choice] = []
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


class OpenAICompatibleModel:
    """A model of a server that speaks chat completions, below the client's base address.

    `stall_s` seconds without a sign of life are a ModelTimeout. `secret` is cut out of what is logged. Parameters of a
    prompt (`temperature`, `max_tokens`, ...) are sent as they are.
    """

    def __init__(self, client: httpx2.AsyncClient, name: str, stall_s: float, secret: str = "") -> None:
        self._client = client
        self._name = name
        self._stall_s = stall_s
        self._secret = secret
        self._format = 0  # of _FORMATS: the first that the server has not refused

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        reading = _Reading(self._stall_s)
        body = self._body(prompt, stream=True)
        async with self._post(body) as response, aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                for piece in reading.feed(chunk):
                    yield piece
                if reading.done:
                    await _drain(chunks)
                    break
        reading.close()

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        try:
            return chat.answer(await self._complete(prompt, schema), schema)
        except ModelMisbehaved:
            return chat.answer(await self._complete(prompt, schema), schema)

    async def _complete(self, prompt: Prompt, schema: Mapping[str, Any]) -> str:
        """A whole answer, in the strictest format that the server takes."""
        failure = ModelRefused()
        for number in range(self._format, len(_FORMATS)):
            try:
                text = await self._ask(_formatted(self._body(prompt, stream=False), _FORMATS[number], schema))
            except _FormatRefused as error:
                failure = error
            else:
                self._format = number
                return text
        raise failure

    async def _ask(self, body: dict[str, Any]) -> str:
        content = bytearray()
        async with _deadline(self._stall_s), self._post(body) as response, aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                content += chunk
                if len(content) > _MAX_ANSWER_BYTES:
                    raise ModelMisbehaved("the answer is too long")
        choices = _read(bytes(content)).choices
        return (choices[0].message.content if choices and choices[0].message else None) or ""

    def _body(self, prompt: Prompt, *, stream: bool) -> dict[str, Any]:
        return {**prompt.params, "model": self._name, "messages": chat.messages(prompt), "stream": stream}

    @asynccontextmanager
    async def _post(self, body: dict[str, Any]) -> AsyncGenerator[httpx2.Response]:
        """The response to a request that the server has accepted, closed at the end; failures become ModelErrors."""
        response: httpx2.Response | None = None
        try:
            request = self._client.build_request("POST", "chat/completions", content=_encode(body))
            async with _deadline(CONNECT_S + self._stall_s):
                response = await self._client.send(request, stream=True)
            if response.status_code != 200:
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

    async def _failure(self, response: httpx2.Response) -> ModelError:
        status = response.status_code
        content = bytearray()
        async with _deadline(self._stall_s), aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                content += chunk
                if len(content) > _MAX_ERROR_BYTES:
                    break
        reason = self._safe(f"status {status}: {content[:_MAX_ERROR_BYTES].decode(errors='replace')}")
        if status in (408, 504):
            return ModelTimeout(reason)
        if status == 429 or status >= 500:
            return ModelUnavailable(reason)
        return _FormatRefused(reason) if status in (400, 422) else ModelRefused(reason)

    def _safe(self, text: str) -> str:
        return (text.replace(self._secret, "***") if self._secret else text)[:_LOGGED_CHARS]


class _FormatRefused(ModelRefused):
    """The server finds the request wrong: perhaps it does not know the format of the answer."""


class _Reading:
    """A streamed completion as it arrives: lines of server-sent events, cut anywhere."""

    def __init__(self, stall_s: float) -> None:
        self.done = False
        self._rest = bytearray()
        self._bytes = 0
        self._chars = 0
        self._stall_s = stall_s
        self._now = asyncio.get_running_loop().time
        self._alive = self._now()

    def feed(self, chunk: bytes) -> list[str]:
        """The pieces of the reply that `chunk` completes."""
        pieces: list[str] = []
        for line in self._lines(chunk):
            if line.startswith(b"data:"):
                self._read_data(line[5:].strip(), pieces)
        return pieces

    def close(self) -> None:
        """Raise unless the reply has ended as it should."""
        if not self.done:
            raise ModelUnavailable("the stream broke off")
        if not self._chars:
            raise ModelMisbehaved("an empty reply")

    def _read_data(self, data: bytes, pieces: list[str]) -> None:
        self._alive = self._now()
        if self.done or data == b"[DONE]":
            self.done = True
            return
        for choice in _read(data).choices:
            if choice.index == 0 and choice.delta and choice.delta.content:
                self._chars += len(choice.delta.content)
                pieces.append(choice.delta.content)
            if choice.finish_reason:
                self.done = True
        if self._chars > _MAX_REPLY_CHARS:
            raise ModelMisbehaved("the reply is too long")

    def _lines(self, chunk: bytes) -> list[bytes]:
        self._bytes += len(chunk)
        lines = chunk.split(b"\n")
        if len(lines) > 1:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest.clear()
        self._rest += lines.pop()
        if len(self._rest) > _MAX_LINE_BYTES or self._bytes > _MAX_STREAM_BYTES:
            raise ModelMisbehaved("the stream is too long")
        if self._now() - self._alive > self._stall_s:
            raise ModelTimeout("no data, only signs of life")
        return lines


def open_client(base_url: str, api_key: str, stall_s: float) -> httpx2.AsyncClient:
    """A pool of connections to one server. Raises ProviderError for a proxy that is none."""
    headers = {"Content-Type": "application/json"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"
    return remote.open_client(base_url, headers, stall_s)


def _formatted(body: dict[str, Any], name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A request for an answer that satisfies the schema; where the server cannot enforce it, the words ask for it."""
    if name == "json_schema":
        form = {"name": "answer", "strict": True, "schema": schemas.strict(schema)}
        return {**body, "response_format": {"type": name, "json_schema": form}}
    ask = f"Answer with JSON alone, without a word around it. Its JSON schema: {msgspec.json.encode(schema).decode()}"
    asked = {**body, "messages": [*body["messages"], {"role": "system", "content": ask}]}
    return asked if name == "text" else {**asked, "response_format": {"type": name}}


def _encode(body: dict[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(body)
    except (TypeError, ValueError, RecursionError):
        raise ModelRefused("the prompt cannot be written as JSON") from None


def _read(data: bytes) -> _Chunk:
    try:
        chunk = _decode(data)
    except (msgspec.DecodeError, RecursionError):
        raise ModelMisbehaved("what it sent is not a chat completion") from None
    if chunk.error is not None:
        raise ModelUnavailable("it sent an error instead of a reply")
    return chunk


async def _drain(chunks: AsyncGenerator[bytes]) -> None:
    """Read the end of a finished response, so that its connection can be used again."""
    try:
        async with asyncio.timeout(_DRAIN_S):
            async for _chunk in chunks:
                pass
    except (TimeoutError, httpx2.HTTPError):
        pass


@asynccontextmanager
async def _deadline(seconds: float) -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise ModelTimeout(f"nothing in {seconds} s") from None
