"""The relay: workers of an installation follow, cancel and look at each other's turns.

A lease names the worker that runs a turn. Another worker, on this host or another, connects to it and sends its request
in one line of JSON, signed with a key of the installation; the answer is one word, for `look` one for each turn, then,
for `follow`, the lines of the turn's log until it ends. Nothing is written to the database for a piece.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from typing import Any, Literal

import msgspec
import structlog

from tertulia import clock
from tertulia.engine.turns.turn import Status, Turn
from tertulia.errors import Conflict, Unavailable

PATIENCE_S = 5.0
"""Seconds that a worker waits for another to accept, ask or answer."""

MAX_AGE_S = 60
"""Seconds after which a signed request is too old."""

Verb = Literal["follow", "cancel", "look"]
Word = Literal["yes", "unknown", "late"]
"""`unknown`: the turn does not run here, or its end is not known. `late`: it is committed."""
msgspec.json.Decoder(Word)  # msgspec learns a type before threads have it

Phase = Literal["thinking", "speaking"]
"""The stage of a running turn: `speaking` from the first piece of its reply on."""

LOOKED_AT = 100
"""Turns that one request looks at."""

log = structlog.get_logger()


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request of one worker to another."""

    verb: Verb
    interaction_id: str
    """The turn; of `look`, several, with commas between them."""
    after: int
    at: int
    """Seconds since the epoch."""

    def signature(self, key: bytes) -> str:
        """Sign the request. Return the signature, HMAC-SHA-256 in hexadecimal."""
        text = f"{self.verb}:{self.interaction_id}:{self.after}:{self.at}"
        return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class _Signed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    request: Request
    signature: str


_read_signed = msgspec.json.Decoder(_Signed).decode


END = b"\0"
"""Follows the last line of a turn that has ended; no line of JSON holds it."""

CANCELLED = "The interaction was cancelled."


_WORDS: dict[Status, Word] = {Status.SETTLED: "late", Status.VOID: "yes"}


async def cancel(turn: Turn) -> Word:
    """End a turn that runs here, or wait until its commit has ended, which may fail.

    Return "yes" if nothing of it remains, "late" if it was committed all the same, "unknown" if the database does not
    answer.
    """
    turn.stop(Conflict(CANCELLED))
    await turn.ended()
    return _WORDS.get(turn.status, "unknown")


class Relay:
    """The listening side: this worker's turns, for the others."""

    def __init__(self, key: bytes, find: Callable[[str], Turn | None]) -> None:
        self._key = key
        self._find = find
        self._server: asyncio.Server | None = None

    async def open(self, host: str) -> str:
        """Listen for other workers. Return the address for them, `HOST:PORT`."""
        self._server = await asyncio.start_server(self._serve, host, 0, limit=8192)
        port = self._server.sockets[0].getsockname()[1]
        return f"{host}:{port}"

    async def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                request = self._read(await reader.readline())
            if request is not None:
                await self._answer(request, reader, writer)
        except (OSError, TimeoutError, ValueError):  # the other worker's trouble: it will say so to its client
            pass
        finally:
            writer.close()

    def _read(self, line: bytes) -> Request | None:
        try:
            signed = _read_signed(line)
        except msgspec.DecodeError:
            return None
        fresh = abs(clock.now().timestamp() - signed.request.at) <= MAX_AGE_S
        return signed.request if fresh and _is_genuine(signed, self._key) else None

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if request.verb == "look":
            await _send(writer, ",".join(map(self._look, request.interaction_id.split(","))).encode() + b"\n")
            return
        turn = self._find(request.interaction_id)
        if turn is None:
            await _send(writer, b"unknown\n")
        elif request.verb == "cancel":
            await _send(writer, (await cancel(turn)).encode() + b"\n")
        else:
            await _send(writer, b"yes\n")
            await _until_end(reader, _tell(turn, request.after, writer))

    def _look(self, interaction_id: str) -> str:
        turn = self._find(interaction_id)
        return "" if turn is None else phase(turn)


def phase(turn: Turn) -> Phase:
    """Look at a turn that runs here. Return its stage."""
    return "speaking" if turn.is_speaking else "thinking"


async def _tell(turn: Turn, after: int, writer: asyncio.StreamWriter) -> None:
    async with aclosing(turn.log.follow(after)) as chunks:
        async for chunk in chunks:
            await _send(writer, chunk)
    await _send(writer, END)


async def _until_end(reader: asyncio.StreamReader, telling: Coroutine[Any, Any, None]) -> None:
    """Tell a turn for as long as the other worker listens: the end of its side is all that comes from there."""
    tasks: list[asyncio.Task[Any]] = [asyncio.create_task(telling), asyncio.create_task(reader.read())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_genuine(signed: _Signed, key: bytes) -> bool:
    return hmac.compare_digest(signed.signature.encode(), signed.request.signature(key).encode())


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
    await writer.drain()


class RemoteTurn:
    """The connection to a turn at another worker, which is followed from here."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._rest = b""

    async def read(self) -> bytes:
        """Wait for the next lines. Return them whole; nothing after the last one. Safe to cancel and to repeat.

        Raises:
            ConnectionError: the other worker is gone before the turn has ended.
        """
        while self._rest != END:
            chunk = await self._reader.read(1 << 16)
            if not chunk:
                raise ConnectionResetError("the worker that runs the turn is gone")
            lines, newline, self._rest = (self._rest + chunk).rpartition(b"\n")
            if newline:
                return lines + newline
        return b""

    def close(self) -> None:
        """Follow no more."""
        self._writer.close()


async def follow_at(address: str, key: bytes, interaction_id: str, after: int) -> RemoteTurn | None:
    """Follow a turn at another worker. Return it, or None if it does not run there any more. Raises Unavailable."""
    reader, writer, line = await _ask(address, key, "follow", interaction_id, after)
    try:
        if _word(line) == "yes":
            return RemoteTurn(reader, writer)
    except Unavailable:
        writer.close()
        raise
    writer.close()
    return None


async def cancel_at(address: str, key: bytes, interaction_id: str) -> Word:
    """Cancel a turn at another worker. Return its answer. Raises Unavailable."""
    _, writer, line = await _ask(address, key, "cancel", interaction_id, 0)
    writer.close()
    return _word(line)


async def look_at(address: str, key: bytes, interaction_ids: Sequence[str]) -> dict[str, Phase]:
    """Look at turns of another worker, at most `LOOKED_AT`. Return the stages of those that run. Raises Unavailable."""
    _, writer, line = await _ask(address, key, "look", ",".join(interaction_ids), 0)
    writer.close()
    found = zip(interaction_ids, line.split(","), strict=False)
    return {interaction_id: _PHASES[word] for interaction_id, word in found if word in _PHASES}


_PHASES: dict[str, Phase] = {"thinking": "thinking", "speaking": "speaking"}


def _word(line: str) -> Word:
    """Read an answer. Return it. Raises Unavailable: whoever answers may be no worker any more."""
    try:
        return msgspec.convert(line, Word)
    except msgspec.ValidationError as error:
        raise Unavailable(_UNREACHED, retry_after=2) from error


_UNREACHED = "The worker that runs this turn cannot be reached."


async def _ask(
    address: str, key: bytes, verb: Verb, interaction_id: str, after: int
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, str]:
    """Send a request to another worker. Return the connection, and the first line of the answer. Raises Unavailable."""
    host, _, port = address.rpartition(":")
    request = Request(verb, interaction_id, after, int(clock.now().timestamp()))
    writer = None
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(host, int(port))
            await _send(writer, msgspec.json.encode(_Signed(request, request.signature(key))) + b"\n")
            return reader, writer, (await reader.readline()).decode().strip()
    except (OSError, TimeoutError, ValueError) as error:  # whoever answers may be no worker any more
        if writer is not None:
            with suppress(OSError):
                writer.close()
        raise Unavailable(_UNREACHED, retry_after=2) from error
