"""MCP tools: one session for an organization and a server serves the calls of many turns.

Servers at a URL are named by definitions, and their addresses are judged; commands are those of the operator's settings
alone. The protocol is spoken by the extra `mcp`, which is imported when the first call needs it.
"""

import asyncio
import importlib
import json
import ssl
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from tertulia.settings import McpServer
from tertulia.tools.addresses import Connector
from tertulia.tools.definitions import McpPlace, McpTool, OfferedTool
from tertulia.tools.names import named_apart
from tertulia.tools.outcomes import CallFailed, outcome_of
from tertulia.tools.requests import authorization_of, header_value, is_unicode, json_of, secrets_in, variable
from tertulia.tools.values import ToolCall, ToolFailed, ToolOutcome, ToolProgram

if TYPE_CHECKING:
    from tertulia.tools.transport import JudgedTransport

MOST_SESSIONS = 100
"""Sessions of a process; beyond that the one that was used longest ago is ended."""

MOST_SCHEMA_CHARS = 64_000
"""Characters of a schema as JSON; a tool with a longer one is not offered."""

_IDLE_S = 600.0
_ABANDONED_S = 0.5

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Key:
    """The organization, the server and what is sent to it: nobody shares a session who has other credentials."""

    organization: str
    server: str
    headers: tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Kept:
    session: Any
    used: float
    calls: int = 0


class McpTools:
    """The runner of tools of MCP servers. `servers` are the commands of the settings, by name."""

    def __init__(
        self, connector: Connector, servers: Mapping[str, McpServer], certificates: ssl.SSLContext | None = None
    ) -> None:
        self._connector = connector
        self._servers = servers
        self._certificates = certificates
        self._kept: dict[_Key, _Kept] = {}
        self._ending: set[asyncio.Task[None]] = set()

    @cached_property
    def _network(self) -> "JudgedTransport":
        from tertulia.tools.transport import JudgedTransport  # noqa: PLC0415 - with its packages

        return JudgedTransport(self._connector, self._certificates)

    async def call(self, program: ToolProgram, call: ToolCall) -> ToolOutcome:
        """Call a tool of a server. Return its result, or why there is none. A cancelled call is cancelled there too."""
        try:
            place = McpTool.model_validate(program.definition)
        except ValidationError:
            return ToolFailed("DefinitionInvalid", "The definition of this tool is not valid any more.", (), 0)
        secrets = [*secrets_in(place.authorization, call.environment), *_of_headers(place, call.environment)]
        return await outcome_of(promptly(self._result(program.organization, place, call), place.timeout_s), secrets)

    async def offer(self, organization: str, place: McpPlace, environment: Mapping[str, str]) -> list[OfferedTool]:
        """List the tools of a server, as they can be published. Return them, in the server's order.

        Raises:
            CallFailed: there is no list; says why.
        """
        kept = await self._open(organization, place, environment)
        tools = await promptly(self._using(kept, kept.session.tools()), place.timeout_s)
        at = place.model_dump(mode="json", exclude_defaults=True, exclude={"tool"})
        names = named_apart([tool.name for tool in tools])
        return [
            OfferedTool(
                name,
                ((tool.description or "").strip() or tool.name)[:4000],
                "mcp",
                {**at, "tool": tool.name},
                tool.input_schema,
            )
            for name, tool in zip(names, tools, strict=True)
            if len(json_of(tool.input_schema)) <= MOST_SCHEMA_CHARS
        ]

    async def aclose(self) -> None:
        """End all sessions, with their servers."""
        kept, self._kept = self._kept, {}
        await asyncio.gather(*(one.session.aclose() for one in kept.values()), *self._ending)
        if "_network" in self.__dict__:
            await self._network.aclose()

    async def _result(self, organization: str, place: McpTool, call: ToolCall) -> str:
        _check(call.arguments)
        sessions = await _library()
        for again in (False, True):
            kept = await self._open(organization, place, call.environment)
            try:
                return sessions.told(await self._using(kept, kept.session.call(place.tool, call)))
            except CallFailed:
                if again or not kept.session.lost:
                    raise
        raise CallFailed("ConnectionLost", "The server forgets each session.")

    async def _using(self, kept: _Kept, work: Awaitable[_T]) -> _T:
        kept.calls += 1
        try:
            return await work
        finally:
            kept.calls -= 1
            kept.used = monotonic()

    async def _open(self, organization: str, place: McpPlace, environment: Mapping[str, str]) -> _Kept:
        """Find a session that is open, or open one. Return it."""
        sessions = await _library()
        headers = {name: header_value(name, variable(environment, named)) for name, named in place.headers.items()}
        if place.authorization is not None:
            headers["Authorization"] = authorization_of(place.authorization, environment)
        key = _Key(organization, place.url or f"server:{place.server}", tuple(sorted(headers.items())))
        self._tidy()
        if key not in self._kept:
            self._kept[key] = _Kept(self._session(sessions, organization, place, headers), monotonic())
        return self._kept[key]

    def _session(self, sessions: Any, organization: str, place: McpPlace, headers: Mapping[str, str]) -> Any:
        transports: Any = importlib.import_module("tertulia.tools.mcp_transports")
        ending = transports.Ending()
        if place.url is not None:
            return sessions.Session(transports.http_transport(place.url, headers, self._network, ending), ending)
        server = self._servers.get(place.server or "")
        if server is None or (server.organizations and organization not in server.organizations):
            raise CallFailed("ServerUnavailable", f"This installation has no MCP server {place.server}.")
        command = transports.Command(server.command, server.env, server.cwd)
        return sessions.Session(transports.stdio_transport(command, ending), ending)

    def _tidy(self) -> None:
        """End the sessions that are over, idle, or too many."""
        now = monotonic()
        oldest_first = sorted(self._kept.items(), key=lambda item: item[1].used)
        too_many = len(self._kept) - MOST_SESSIONS + 1
        for key, kept in oldest_first:
            idle = kept.calls == 0 and (now - kept.used > _IDLE_S or too_many > 0)
            if kept.session.over or idle:
                too_many -= 1
                del self._kept[key]
                task = asyncio.create_task(kept.session.aclose())
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)


def _check(arguments: Mapping[str, Any]) -> None:
    """See that arguments can be sent: what the library cannot write ends the connection, with the calls of others.

    Raises:
        CallFailed: they cannot.
    """
    try:
        text = json.dumps(arguments, ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        text = "\ud800"
    if not is_unicode(text):
        raise CallFailed("ArgumentInvalid", "The arguments cannot be written as JSON in Unicode.")


def _of_headers(place: McpPlace, environment: Mapping[str, str]) -> Sequence[str]:
    return [environment[name] for name in place.headers.values() if name in environment]


async def _library() -> Any:
    """Import what speaks the protocol, which takes a second, beside the loop. Return that module.

    Raises:
        CallFailed: the extra is not installed.
    """
    try:
        return await asyncio.to_thread(importlib.import_module, "tertulia.tools.mcp_sessions")
    except ImportError:
        raise CallFailed("ServerUnavailable", "This server's extra `mcp` is not installed.") from None


async def promptly(work: Awaitable[_T], timeout_s: float) -> _T:
    """Wait for a call, whose server may take its time to be told that nobody waits any more. Return its result.

    Raises:
        CallFailed: it takes more than `timeout_s`.
    """
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    try:
        async with asyncio.timeout(timeout_s):
            return await asyncio.shield(task)
    except TimeoutError:
        raise CallFailed("Timeout", f"The server did not answer within {timeout_s:g} s.") from None
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_ABANDONED_S)
