"""The ways to an MCP server, bounded: a process of the operator's settings, or a judged URL.

The library `mcp` reads lines of any length, repeats requests without end, and loses all calls of a connection when one
request fails; between it and the server, these transports bound lines, answers, times and unasked messages, and make
of a request that failed an error of that request alone.
"""

import asyncio
import json
import os
import re
import shutil
import signal
import sys
from asyncio import StreamReader
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Self, cast

import anyio
import httpx2
import structlog
from anyio.streams.memory import MemoryObjectSendStream
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp_types import (
    ErrorData,
    JSONRPCError,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)
from structlog.typing import FilteringBoundLogger

from tertulia.tools import keeper
from tertulia.tools.addresses import AddressRefused, HostUnreachable
from tertulia.tools.bodies import bounded_body, why
from tertulia.tools.outcomes import CallFailed

LONGEST_LINE = 4 << 20
"""Bytes of one message of a server."""

OURS = -32099
"""The code of errors that are made here; their data names the kind of the failure."""

MOST_PARTS = 2000
"""Entries of one list of an answer: judging many small ones would hold the loop for seconds."""

_LONGEST_STREAM = 3 << 20
_ANSWER_S = 130.0
_NOTICE_S = 5.0
_BURST = 1000
_A_SECOND = 50.0
_STOP_S = 1.0
_STDERR_BYTES = 2000
_ID = re.compile(rb'"id"\s*:\s*(?:(\d{1,15})|"([^"\\]{1,64})")')
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")

_log: FilteringBoundLogger = structlog.get_logger(__name__)

Item = SessionMessage | Exception
Streams = tuple[Any, Any]


@dataclass
class Ending:
    """The end of a connection: set once, with the reason in plain words. `session_lost` asks for another connection."""

    over: asyncio.Event = field(default_factory=asyncio.Event)
    why: str = ""
    session_lost: bool = False

    def end(self, why: str) -> None:
        """End the connection; the first reason stays."""
        self.why = self.why or why
        self.over.set()


# --- What comes from a server ----------------------------------------------------------------------------------------


class _Watched:
    """One direction of a connection, which is closed with the watch over it."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.aclose()


class Questions(_Watched):
    """The messages to a server. `open` are the identifiers of the requests that have no answer yet."""

    def __init__(self, inner: Any) -> None:
        super().__init__(inner)
        self.open: set[str] = set()

    async def send(self, item: SessionMessage) -> None:
        if isinstance(item.message, JSONRPCRequest):
            self.open.add(str(item.message.id))
        await self._inner.send(item)


class Answers(_Watched):
    """The messages of a server that answer a question. Others are dropped and counted: a flood of them is an end."""

    def __init__(self, inner: Any, questions: Questions, ending: Ending) -> None:
        super().__init__(inner)
        self._questions = questions
        self._ending = ending
        self._left = float(_BURST)
        self._counted = monotonic()

    @property
    def last_context(self) -> Any:
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> Item:
        try:
            while not self._wanted(item := await self._inner.receive()):
                pass
        except (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError):
            self._ending.end("The server has ended the connection.")
            raise
        return _of_few_parts(item)

    def _wanted(self, item: Item) -> bool:
        message = item.message if isinstance(item, SessionMessage) else None
        if isinstance(message, JSONRPCResponse | JSONRPCError) and str(message.id) in self._questions.open:
            self._questions.open.remove(str(message.id))
            return True
        now = monotonic()
        self._left = min(_BURST, self._left + (now - self._counted) * _A_SECOND) - 1
        self._counted = now
        if self._left < 0:
            self._ending.end("The server floods the connection with messages that nobody asked for.")
            raise anyio.EndOfStream
        return isinstance(message, JSONRPCRequest)  # the session declines it

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


def _of_few_parts(item: Item) -> Item:
    """Bound the lists of an answer. Return the message, or an error in its place."""
    message = item.message if isinstance(item, SessionMessage) else None
    if isinstance(message, JSONRPCResponse):
        values: list[object] = list(message.result.values())
        longest = max((len(cast("list[object]", value)) for value in values if isinstance(value, list)), default=0)
        if longest > MOST_PARTS:
            return _error(message.id, "AnswerTooLong", f"The answer has more than {MOST_PARTS} parts.")
    return item


def _unreadable(line: bytes, error: ValueError) -> Item:
    """Find the question that a broken message answers. Return the error of that question, else the given one."""
    found = _ID.search(line)
    if found is None:
        return error
    identifier = int(found[1]) if found[1] else found[2].decode(errors="replace")
    return _error(identifier, "AnswerInvalid", "The answer of the MCP server is not JSON that can be read.")


def _error(identifier: int | str, kind: str, text: str) -> SessionMessage:
    error = ErrorData(code=OURS, message=text, data={"kind": kind})
    return SessionMessage(JSONRPCError(jsonrpc="2.0", id=identifier, error=error))


# --- A process -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Command:
    """A server that is a process: its command, and what it gets of an environment beside the usual."""

    command: Sequence[str]
    env: Mapping[str, str]
    cwd: str | None


def _kept(command: Sequence[str]) -> Sequence[str]:
    """Put a keeper before a command, where the system lets one see what the command has started. Return both."""
    if sys.platform != "linux":
        return command
    return [sys.executable, "-I", "-S", keeper.__file__, str(os.getpid()), *command]


@asynccontextmanager
async def stdio_transport(command: Command, ending: Ending) -> AsyncGenerator[Streams]:
    """Start a server, and yield the streams of its messages; it and its children are gone in the end.

    Raises:
        CallFailed: the command cannot be started.
    """
    process = await _started(command)
    stdin, stdout, stderr = _pipes(process)
    incoming_in, incoming = anyio.create_memory_object_stream[Item](0)
    outgoing, outgoing_out = anyio.create_memory_object_stream[SessionMessage](0)
    tail = bytearray()

    async def write() -> None:
        with suppress(OSError, anyio.ClosedResourceError):
            async for message in outgoing_out:
                stdin.write(message.message.model_dump_json(by_alias=True, exclude_unset=True).encode() + b"\n")
                await stdin.drain()

    tasks = [
        asyncio.create_task(_read(stdout, incoming_in, ending)),
        asyncio.create_task(write()),
        asyncio.create_task(_keep_tail(stderr, tail)),
    ]
    try:
        questions = Questions(outgoing)
        yield Answers(incoming, questions, ending), questions
    finally:
        stopping = asyncio.create_task(_stop(process, tasks))
        await asyncio.shield(stopping)
        for stream in (incoming_in, incoming, outgoing, outgoing_out):
            stream.close()
        if ending.why and tail:
            _log.warning("mcp_server_ended", said=tail.decode(errors="replace"))


async def _started(command: Command) -> asyncio.subprocess.Process:
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | dict(command.env)
    at = Path(command.cwd or ".") / command.command[0] if "/" in command.command[0] else command.command[0]
    try:
        if not shutil.which(at, path=environment.get("PATH")):
            raise FileNotFoundError(at)
        return await asyncio.create_subprocess_exec(
            *_kept(command.command),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
            cwd=command.cwd,
            start_new_session=True,
            limit=LONGEST_LINE,
        )
    except (OSError, ValueError):
        raise CallFailed("ServerUnavailable", "The command of this MCP server cannot be started.") from None


async def _read(stdout: StreamReader, incoming: MemoryObjectSendStream[Item], ending: Ending) -> None:
    """Read messages, one a line, until there are no more or one is too long."""
    try:
        async with incoming:
            while line := await stdout.readuntil(b"\n"):
                try:
                    message = SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
                except ValueError as error:
                    await incoming.send(_unreadable(line, error))
                else:
                    await incoming.send(message)
    except asyncio.LimitOverrunError:
        ending.end(f"The server has sent a message of more than {LONGEST_LINE} bytes.")
    except asyncio.IncompleteReadError:
        ending.end("The server has ended.")
    except (OSError, anyio.ClosedResourceError, anyio.BrokenResourceError):
        ending.end("The connection with the server has ended.")


async def _keep_tail(stderr: StreamReader, tail: bytearray) -> None:
    while chunk := await stderr.read(1 << 16):
        tail += chunk
        del tail[:-_STDERR_BYTES]


async def _stop(process: asyncio.subprocess.Process, tasks: Sequence[asyncio.Task[None]]) -> None:
    """Stop a server and its children: by the end of its input, then by signals."""
    stdin, *outputs = _pipes(process)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    stdin.close()
    drained = [asyncio.create_task(_drain(output)) for output in outputs]  # a full pipe would hold it up
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            _signal(process, number)
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP_S):
                await process.wait()
                break
    _signal(process, signal.SIGKILL)  # children that it has left
    await asyncio.wait(drained, timeout=_STOP_S)
    for task in drained:
        task.cancel()


async def _drain(output: StreamReader) -> None:
    while await output.read(1 << 16):
        pass


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _pipes(process: asyncio.subprocess.Process) -> tuple[asyncio.StreamWriter, StreamReader, StreamReader]:
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise CallFailed("ServerUnavailable", "The command of this MCP server cannot be started.")
    return process.stdin, process.stdout, process.stderr


# --- A URL -----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def http_transport(
    url: str, headers: Mapping[str, str], network: httpx2.AsyncBaseTransport, ending: Ending
) -> AsyncGenerator[Streams]:
    """Yield the streams of messages with a server at a URL. Each request stands and fails by itself."""
    client = httpx2.AsyncClient(
        headers={"Accept-Encoding": "identity", **headers},
        transport=_Requests(network, ending),
        timeout=httpx2.Timeout(_ANSWER_S, connect=10),
        trust_env=False,
    )
    async with client, streamable_http_client(url, http_client=client) as (incoming, outgoing):
        questions = Questions(outgoing)
        yield Answers(incoming, questions, ending), questions


class _Requests(httpx2.AsyncBaseTransport):
    """Requests of the library, bounded. A failure is an answer, which is the error of the one call that it is of.

    Streams that only the server speaks on, and repeated ones, are not opened.
    """

    def __init__(self, network: httpx2.AsyncBaseTransport, ending: Ending) -> None:
        self._network = network
        self._ending = ending

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "GET":
            return httpx2.Response(405)
        deadline = asyncio.get_running_loop().time() + (_ANSWER_S if _is_asking(request) else _NOTICE_S)
        try:
            async with asyncio.timeout_at(deadline):
                response = await self._network.handle_async_request(request)
                try:
                    return await self._bounded(request, response, deadline)
                except BaseException:
                    await response.aclose()
                    raise
        except (AddressRefused, HostUnreachable) as refusal:
            return _failure(type(refusal).__name__, str(refusal))
        except CallFailed as failure:
            return _failure(failure.kind, failure.text)
        except httpx2.TransportError as error:
            return _failure("ConnectionFailed", why(error))
        except TimeoutError:
            return _failure("Timeout", "The server did not answer in time.")

    async def _bounded(self, request: httpx2.Request, response: httpx2.Response, deadline: float) -> httpx2.Response:
        self._ending.session_lost |= response.status_code == 404 and "mcp-session-id" in request.headers
        kept = {
            name: text
            for name, text in response.headers.items()
            if name in {"content-type", "location", "mcp-session-id"}
        }
        if not response.headers.get("content-type", "").startswith("text/event-stream"):
            body = await bounded_body(response, LONGEST_LINE)
            await response.aclose()
            if response.status_code in {401, 403}:
                return _failure("StatusError", f"The server answered with status {response.status_code}.")
            return httpx2.Response(response.status_code, headers=kept, content=body)
        if response.headers.get("content-encoding", "identity") != "identity":
            raise CallFailed("AnswerUnreadable", "The server compresses a stream although it was asked not to.")
        return httpx2.Response(response.status_code, headers=kept, stream=_Stream(response, deadline))

    async def aclose(self) -> None:
        """Leave the connections open: they are those of all servers."""


def _is_asking(request: httpx2.Request) -> bool:
    """Return True for a request that the server answers with more than that it has come."""
    try:
        sent = json.loads(request.content)
    except ValueError:
        return False
    return isinstance(sent, dict) and "id" in sent and "method" in sent


def _failure(kind: str, text: str) -> httpx2.Response:
    error = {"code": OURS, "message": text, "data": {"kind": kind}}
    return httpx2.Response(502, json={"jsonrpc": "2.0", "id": None, "error": error})


class _Stream(httpx2.AsyncByteStream):
    """A stream of events that ends, whatever its server does: by length, and by time."""

    def __init__(self, response: httpx2.Response, deadline: float) -> None:
        self._response = response
        self._deadline = deadline

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        read = 0
        chunks = self._response.aiter_raw()
        while True:
            try:
                async with asyncio.timeout_at(self._deadline):
                    chunk = await anext(chunks, b"")
            except TimeoutError:
                raise httpx2.ReadTimeout("The stream takes too long.") from None
            read += len(chunk)
            if read > _LONGEST_STREAM:
                raise httpx2.ReadError("The stream is too long.")
            if not chunk:
                return
            yield chunk

    async def aclose(self) -> None:
        await self._response.aclose()
