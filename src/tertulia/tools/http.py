"""HTTP tools: each call is one request to an API, over connections that are judged."""

import asyncio
import ssl
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING

import httpx2
from pydantic import ValidationError

from tertulia.tools.addresses import Connector
from tertulia.tools.bodies import bounded_body, why
from tertulia.tools.definitions import HttpOperation
from tertulia.tools.outcomes import MOST_BYTES, CallFailed, outcome_of
from tertulia.tools.requests import redirected, request_of, secrets_of
from tertulia.tools.values import ToolCall, ToolFailed, ToolOutcome, ToolProgram

if TYPE_CHECKING:
    from tertulia.tools.transport import JudgedTransport

MOST_REDIRECTS = 3

_ERROR_CHARS = 2000
_CHARSETS = frozenset({"utf-8", "us-ascii", "iso-8859-1", "windows-1252", "utf-16"})


class HttpTools:
    """The runner of HTTP tools. Connections are shared, cookies are not kept, and no call is repeated."""

    def __init__(self, connector: Connector, certificates: ssl.SSLContext | None = None) -> None:
        self._connector = connector
        self._certificates = certificates

    @cached_property
    def _transport(self) -> "JudgedTransport":
        """The pool of connections, made for the first call: its packages and certificates take a tenth of a second."""
        from tertulia.tools.transport import JudgedTransport  # noqa: PLC0415 - with its packages

        return JudgedTransport(self._connector, self._certificates)

    async def call(self, program: ToolProgram, call: ToolCall) -> ToolOutcome:
        """Send the request of a call. Return its answer, or why there is none."""
        try:
            operation = HttpOperation.model_validate(program.definition)
        except ValidationError:
            return ToolFailed("DefinitionInvalid", "The definition of this tool is not valid any more.", (), 0)
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
            raise CallFailed("ConnectionFailed", why(error)) from None

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
    body = await bounded_body(response, MOST_BYTES)
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    told = _text(body, response.charset_encoding) if _is_text(kind) else f"[{kind}, {len(body)} bytes]"
    if response.status_code >= 300:
        raise CallFailed("StatusError", f"Status {response.status_code}: {told[:_ERROR_CHARS]}".rstrip(": "))
    return told if body else f"Status {response.status_code}, without content."


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
