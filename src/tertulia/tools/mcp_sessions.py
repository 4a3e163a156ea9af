"""Sessions with MCP servers: one task for each enters and leaves the library's client, and callers share it."""

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any, TypeVar, cast

from mcp.client.client import Client
from mcp.client.session import ClientSession
from mcp.shared.exceptions import MCPError
from mcp_types import (
    HEADER_MISMATCH,
    AudioContent,
    BlobResourceContents,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    EmbeddedResource,
    ImageContent,
    Implementation,
    ListToolsResult,
    PaginatedRequestParams,
    ResourceLink,
    TextContent,
    Tool,
)
from pydantic import ValidationError

from tertulia.tools.mcp_transports import OURS, Ending, Streams
from tertulia.tools.outcomes import MOST_BYTES, CallFailed
from tertulia.tools.values import ToolCall

START_S = 30.0
"""Seconds in which a server has to be ready."""

_CLOSE_S = 5.0
_MOST_PAGES = 20
_MOST_TOOLS = 500
_KINDS = frozenset(
    {"AddressRefused", "HostUnreachable", "ConnectionFailed", "Timeout", "AnswerTooLong", "AnswerInvalid"}
)
_OUR_NAME = Implementation(name="tertulia", version="1")

_T = TypeVar("_T")


class Session:
    """A session with a server. Calls of many turns go through it side by side; `over` is true once it has ended."""

    def __init__(self, transport: AbstractAsyncContextManager[Streams], ending: Ending) -> None:
        self._transport = transport
        self._ending = ending
        self._ready: asyncio.Future[ClientSession] = asyncio.get_running_loop().create_future()
        self._ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())
        self._task = asyncio.create_task(self._live())

    @property
    def over(self) -> bool:
        return self._ending.over.is_set() or self._ending.session_lost or self._task.done()

    @property
    def lost(self) -> bool:
        """True if the server no longer knows the session: it has done nothing of the call that found out."""
        return self._ending.session_lost

    async def call(self, name: str, call: ToolCall) -> CallToolResult:
        """Call a tool. Return its result.

        Raises:
            CallFailed: there is none.
        """
        meta: Any = {"tertulia/idempotency-key": call.key, "tertulia/attempt": call.attempt}
        params = CallToolRequestParams(name=name, arguments=dict(call.arguments), _meta=meta)
        request = CallToolRequest(params=params)
        session = await self._session()
        try:
            return await self._asked(session.send_request(request, CallToolResult))
        except _HeaderMismatch:  # arguments that are headers too are known from the list of tools
            await self.tools()
            return await self._asked(session.send_request(request, CallToolResult))

    async def tools(self) -> Sequence[Tool]:
        """List the tools of the server, 500 at most. Return them.

        Raises:
            CallFailed: there is no list.
        """
        session = await self._session()
        found: list[Tool] = []
        cursor: str | None = None
        for _ in range(_MOST_PAGES):
            page: ListToolsResult = await self._asked(
                session.list_tools(params=PaginatedRequestParams(cursor=cursor) if cursor else None)
            )
            found += page.tools
            cursor = page.next_cursor
            if not cursor or len(found) >= _MOST_TOOLS:
                break
        return found[:_MOST_TOOLS]

    async def aclose(self) -> None:
        """End the session; its server is gone afterwards."""
        self._ending.over.set()
        if self._ready.done():
            await asyncio.wait({self._task}, timeout=_CLOSE_S)
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=_CLOSE_S)

    async def _session(self) -> ClientSession:
        return await asyncio.shield(self._ready)

    async def _asked(self, asking: Awaitable[_T]) -> _T:
        try:
            return await asking
        except MCPError as error:
            raise self._failure(error) from None
        except (ValidationError, ValueError, RuntimeError):
            raise CallFailed("AnswerInvalid", "The answer of the MCP server is not one that a tool gives.") from None

    def _failure(self, error: MCPError) -> CallFailed:
        if error.error.code == HEADER_MISMATCH:
            return _HeaderMismatch("ServerError", error.error.message)
        if self._ending.why or self._ending.over.is_set():
            return CallFailed("ConnectionLost", self._ending.why or "The connection with the server has ended.")
        data = cast("object", error.error.data) if error.error.code == OURS else None
        kind = str(cast("dict[str, object]", data).get("kind")) if isinstance(data, dict) else ""
        return CallFailed(kind if kind in _KINDS else "ServerError", error.error.message or "The server failed.")

    async def _live(self) -> None:
        """Hold the session open until it ends."""
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(START_S):
                    client = await stack.enter_async_context(Client(self._entered(), client_info=_OUR_NAME, cache=None))
                self._ready.set_result(client.session)
                await self._ending.over.wait()
        except TimeoutError:
            self._ending.end(f"The MCP server was not ready within {START_S:g} s.")
        except Exception as error:  # noqa: BLE001 - groups of whatever broke at once
            self._ending.end(self._reason(error))
        finally:
            self._ending.end("The connection with the server has ended.")
            if not self._ready.done():
                self._ready.set_exception(CallFailed("ServerUnavailable", self._ending.why))

    @asynccontextmanager
    async def _entered(self) -> AsyncGenerator[Streams]:
        async with self._transport as streams:
            yield streams

    def _reason(self, error: BaseException) -> str:
        while isinstance(error, BaseExceptionGroup):
            error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
        if isinstance(error, CallFailed):
            return error.text
        if isinstance(error, MCPError):
            return f"The MCP server cannot be used: {error.error.message}"
        return "The MCP server does not speak the protocol."


class _HeaderMismatch(CallFailed):
    """The refusal of a call whose headers do not repeat its arguments as the server wants."""


def told(result: CallToolResult) -> str:
    """Write a result of a tool as text; what is no text is named. Return it.

    Raises:
        CallFailed: the tool says that it has failed, or its result is too long.
    """
    texts = [text for block in result.content if (text := _text_of(block))]
    structured: Any = result.structured_content
    if structured is not None and not (texts and _says(texts, structured)):
        texts.append(json.dumps(structured, ensure_ascii=False))
    text = "\n".join(texts)
    if len(text.encode(errors="replace")) > MOST_BYTES:
        raise CallFailed("AnswerTooLong", f"The answer has more than {MOST_BYTES} bytes.")
    if result.is_error:
        raise CallFailed("ToolError", text or "The tool has failed, and says no more.")
    return text


def _says(texts: Sequence[str], structured: Any) -> bool:
    """Return True if the texts say what is in the structured content, as servers repeat it."""
    values: list[Any] = []
    for text in texts:
        values.append(text)
        with suppress(ValueError, RecursionError):
            values[-1] = json.loads(text)
    forms: list[Any] = [structured]
    if isinstance(structured, dict) and structured.keys() == {"result"}:
        forms.append(structured["result"])
    return any(form in (values, values[0], "\n".join(texts)) for form in forms)


def _text_of(block: object) -> str:
    match block:
        case TextContent():
            return block.text
        case ImageContent() | AudioContent():
            return f"[{block.mime_type}, {_size(block.data)} bytes]"
        case ResourceLink():
            return f"[{block.name}: {block.uri}]"
        case EmbeddedResource(resource=BlobResourceContents() as resource):
            return f"[{resource.uri}, {_size(resource.blob)} bytes]"
        case EmbeddedResource():
            return getattr(block.resource, "text", "")
        case _:
            return ""


def _size(encoded: str) -> int:
    return len(encoded.rstrip("=")) * 3 // 4
