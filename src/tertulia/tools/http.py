"""HTTP tools: each call is one request to an API, over connections that are judged."""

import asyncio
import ssl
import zlib
from contextlib import aclosing, suppress
from functools import cached_property

import httpx2

from tertulia.tools.addresses import Connector
from tertulia.tools.definitions import HttpOperation
from tertulia.tools.outcomes import MOST_BYTES, CallFailed, outcome_of
from tertulia.tools.requests import redirected, request_of, secrets_of
from tertulia.tools.transport import JudgedTransport
from tertulia.tools.values import ToolCall, ToolOutcome, ToolProgram

MOST_REDIRECTS = 3

_ERROR_CHARS = 2000
_GZIP_OR_ZLIB = 47
_CHARSETS = frozenset({"utf-8", "us-ascii", "iso-8859-1", "windows-1252", "utf-16"})


class HttpTools:
    """The runner of HTTP tools. Connections are shared, cookies are not kept, and no call is repeated."""

    def __init__(self, connector: Connector, certificates: ssl.SSLContext | None = None) -> None:
        self._connector = connector
        self._certificates = certificates

    @cached_property
    def _transport(self) -> JudgedTransport:
        """The pool of connections, made for the first call: reading the certificates takes a tenth of a second."""
        return JudgedTransport(self._connector, self._certificates)

    async def call(self, program: ToolProgram, call: ToolCall) -> ToolOutcome:
        """Send the request of a call. Return its answer, or why there is none."""
        operation = HttpOperation.model_validate(program.definition)
        return await outcome_of(self._answer(operation, call), secrets_of(operation, call))

    async def aclose(self) -> None:
        """Close all connections."""
        if "_transport" in self.__dict__:
            await self._transport.aclose()

    async def _answer(self, operation: HttpOperation, call: ToolCall) -> str:
        request = request_of(operation, call)
        try:
            async with asyncio.timeout(operation.timeout_s):
                return await self._follow(request, operation.timeout_s)
        except (TimeoutError, httpx2.TimeoutException):
            raise CallFailed("Timeout", f"The server did not answer within {operation.timeout_s:g} s.") from None
        except httpx2.TransportError as error:
            raise CallFailed("ConnectionFailed", _why(error)) from None

    async def _follow(self, request: httpx2.Request, timeout_s: float) -> str:
        for _ in range(MOST_REDIRECTS + 1):
            request.extensions["timeout"] = httpx2.Timeout(timeout_s).as_dict()
            response = await self._transport.handle_async_request(request)
            try:
                following = redirected(request, response)
                if following is None:
                    return await _read(response)
            finally:
                await response.aclose()
            request = following
        raise CallFailed("RedirectRefused", f"The server redirects more than {MOST_REDIRECTS} times.")


async def _read(response: httpx2.Response) -> str:
    """Read an answer. Return what is told of it.

    Raises:
        CallFailed: its status is an error, or it is too long.
    """
    body = await _body(response)
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    told = _text(body, response.charset_encoding) if _is_text(kind) else f"[{kind}, {len(body)} bytes]"
    if response.status_code >= 300:
        raise CallFailed("StatusError", f"Status {response.status_code}: {told[:_ERROR_CHARS]}".rstrip(": "))
    return told if body else f"Status {response.status_code}, without content."


async def _body(response: httpx2.Response) -> bytes:
    """Read a body that may be compressed, and may be a bomb. Return it in clear."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in {"identity", "gzip", "x-gzip", "deflate", ""}:
        raise CallFailed("AnswerUnreadable", "The server compresses its answer although it was asked not to.")
    unpack = None if encoding in {"identity", ""} else zlib.decompressobj(_GZIP_OR_ZLIB)
    body, read = bytearray(), 0
    async with aclosing(response.aiter_raw()) as chunks:
        async for chunk in chunks:
            read += len(chunk)
            try:
                body += chunk if unpack is None else unpack.decompress(chunk, MOST_BYTES + 1 - len(body))
            except zlib.error:
                raise CallFailed("AnswerUnreadable", "The answer cannot be decompressed.") from None
            if max(read, len(body)) > MOST_BYTES:
                raise CallFailed("AnswerTooLong", f"The answer has more than {MOST_BYTES} bytes.")
    return bytes(body)


def _is_text(kind: str) -> bool:
    return (
        not kind
        or kind.startswith("text/")
        or any(word in kind for word in ("json", "xml", "javascript", "urlencoded"))
    )


def _text(body: bytes, charset: str | None) -> str:
    named = (charset or "utf-8").lower()
    with suppress(UnicodeError):
        return body.decode(named if named in _CHARSETS else "utf-8")
    return body.decode(errors="replace")


def _why(error: httpx2.TransportError) -> str:
    """Say why there is no answer, as far as a caller may know. Return a sentence."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"The certificate of the server is not valid: {cause.verify_message}."
        if isinstance(cause, ssl.SSLError):
            return "The server does not speak TLS."
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx2.ConnectError):
        return "The server takes no connections."
    if isinstance(error, httpx2.LocalProtocolError):
        return "The request cannot be sent."
    return "The server ended the connection, or does not speak HTTP."
