"""The log of a turn: encoded events, which one task writes and any number of readers follow.

Lines are numbered from 1; a reader that has had `after` of them reads on from there. Nobody waits for a slow reader.
An empty chunk asks a reader to watch from then on if its client is still there, and to stop following if it is not.
"""

import asyncio
import zlib
from bisect import bisect_right
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Protocol

from tertulia import events
from tertulia.errors import ModelMisbehaved
from tertulia.events import Event
from tertulia.storage.turn.outline import Cut, Outline, fill

CHUNK_BYTES = 1 << 16
"""The size in bytes at which a portion of a recorded log is given to a reader; its last line may exceed the size."""

BLOCK_BYTES = 1 << 12
"""The bytes of the newest lines that are kept as they are. Older lines are packed, and compressed if they are text."""

LOG_BYTES = 1 << 23
"""A turn that makes more than this has gone wrong."""

SPOKEN_LOG_BYTES = 1 << 26
"""As `LOG_BYTES`, for a spoken reply: some seventeen minutes of PCM."""


class EventLog(Protocol):
    """A log that can be followed."""

    def follow(self, after: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield whole lines of NDJSON after the first `after`, as they come; several at once for a reader that lags.

        An empty chunk means: watch if the client leaves.
        """
        ...


@dataclass(frozen=True, slots=True)
class Stream:
    """The events of a turn, and the identifiers to come back to it. `replayed`: a request before this one began it."""

    conversation_id: str
    interaction_id: str
    log: EventLog
    replayed: bool = False


class TurnLog:
    """The log of a running turn. Written and read on one event loop."""

    __slots__ = (
        "_block_ends",
        "_blocks",
        "_departures",
        "_left_at",
        "_level",
        "_limit",
        "_lines",
        "_loop",
        "_readers",
        "_size",
        "_tail",
        "_waiters",
        "_watches",
        "closed",
        "has_sound",
    )

    def __init__(self) -> None:
        self.closed = False
        """True when no line will follow."""
        self.has_sound = False
        """True for a spoken reply: the pieces of its message are sound."""
        self._limit = LOG_BYTES
        self._level = 1
        """The level of compression of older lines."""
        self._loop = asyncio.get_running_loop()
        self._blocks: list[bytes] = []
        self._block_ends: list[int] = []
        """The number of lines up to the end of each block."""
        self._lines: list[bytes] = []
        """The lines after the blocks; `_tail` is their size."""
        self._tail = 0
        self._size = 0
        self._waiters: list[asyncio.Future[None]] = []
        self._readers = 0
        self._left_at: float | None = None
        """The time at which the last reader has left; None before the first has."""
        self._watches = False
        """True if readers are to watch their clients."""
        self._departures: list[asyncio.Future[None]] = []

    @property
    def body(self) -> bytes:
        """All lines so far."""
        return b"".join([*map(zlib.decompress, self._blocks), *self._lines])

    @property
    def count(self) -> int:
        """The number of lines so far."""
        return self._packed + len(self._lines)

    @property
    def size(self) -> int:
        """The bytes of the lines, before they are packed."""
        return self._size

    def expect_sound(self) -> None:
        """Prepare for a spoken reply: it may be longer, and sound is hardly smaller when it is compressed."""
        self.has_sound = True
        self._limit, self._level = SPOKEN_LOG_BYTES, 0

    def tell(self, event: Event) -> None:
        """Add an event.

        Raises:
            ModelMisbehaved: the log is longer than a turn can be.
        """
        if self._size > self._limit:
            raise ModelMisbehaved("the reply has no end")
        self.append(events.encode(event))

    def append(self, line: bytes) -> None:
        """Add an encoded event, however long the log is."""
        size = len(line)
        self._lines.append(line)
        self._size += size
        self._tail += size
        if self._tail > BLOCK_BYTES:
            self._pack()
        if self._waiters:
            self._wake()

    def _pack(self) -> None:
        self._block_ends.append(self.count)
        self._blocks.append(zlib.compress(b"".join(self._lines), self._level))
        self._lines, self._tail = [], 0

    @property
    def _packed(self) -> int:
        return self._block_ends[-1] if self._block_ends else 0

    def close(self) -> None:
        """End the log: no line will follow."""
        self.closed = True
        self._wake()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def changed(self) -> asyncio.Future[None]:
        """Return a future that is done when there is another line, or none will follow."""
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        return waiter

    async def deserted(self, patience_s: float) -> None:
        """Wait until nobody has followed this log for so many seconds; that somebody comes at all is waited for."""
        self._watches = True
        self._wake()
        while True:
            if self._readers or self._left_at is None:
                departure: asyncio.Future[None] = self._loop.create_future()
                self._departures.append(departure)
                await departure
                continue
            left_s = self._left_at + patience_s - self._loop.time()
            if left_s <= 0:
                return
            await asyncio.sleep(left_s)

    def _leave(self) -> None:
        self._readers -= 1
        if not self._readers:
            self._left_at = self._loop.time()
            for departure in self._departures:
                if not departure.done():
                    departure.set_result(None)
            self._departures = []

    async def follow(self, after: int = 0) -> AsyncGenerator[bytes, None]:
        read, watches = after, False
        self._readers += 1
        try:
            while True:
                if self._watches and not watches:
                    watches = True
                    yield b""
                elif read < self._packed:
                    block = bisect_right(self._block_ends, read)
                    skipped = read - (self._block_ends[block - 1] if block else 0)
                    read = self._block_ends[block]
                    yield without_first(zlib.decompress(self._blocks[block]), skipped)
                elif read < self.count:
                    first, read = read - self._packed, self.count
                    yield b"".join(self._lines[first:])
                elif self.closed:
                    return
                else:
                    await self.changed()
        finally:
            self._leave()


ReadSound = Callable[[str, int, int], Awaitable[bytes]]
"""Reads the recording of a message, from its first to its last byte."""


class RecordedLog:
    """The log of a turn that has ended, read from its outline; `read` reads its sound, portion by portion."""

    def __init__(self, outline: Outline, read: ReadSound) -> None:
        self._outline = outline
        self._read = read

    async def follow(self, after: int = 0) -> AsyncGenerator[bytes, None]:
        lines = self._outline.lines
        begins = len(lines) - len(without_first(lines, after))
        cuts = deque(cut for cut in self._outline.cuts if cut.at > begins)
        while begins < len(lines):
            ends, portion = _take_portion(lines, begins, cuts)
            yield await self._filled(begins, ends, portion)
            begins = ends

    async def _filled(self, begins: int, ends: int, cuts: Sequence[Cut]) -> bytes:
        lines = self._outline.lines[begins:ends]
        if not cuts or self._outline.message_id is None:
            return lines
        first, last = cuts[0].first, cuts[-1].first + cuts[-1].size - 1
        return fill(lines, begins, cuts, await self._read(self._outline.message_id, first, last))


def _take_portion(lines: bytes, begins: int, cuts: deque[Cut]) -> tuple[int, list[Cut]]:
    """Take whole lines for one portion. Return the end of the portion and its cuts, which are removed from `cuts`."""
    ends, size, taken = begins, 0, list[Cut]()
    while ends < len(lines) and size < CHUNK_BYTES:
        line_begins, ends = ends, lines.index(b"\n", ends) + 1
        size += ends - line_begins
        while cuts and cuts[0].at < ends:
            size += cuts[0].size
            taken.append(cuts.popleft())
    return ends, taken


class LogWithoutActions:
    """A log without the agent's actions, for a caller who may not see them, whoever began the turn."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def follow(self, after: int = 0) -> AsyncGenerator[bytes, None]:
        skip = after
        async with aclosing(self._log.follow()) as chunks:
            async for chunk in chunks:
                if not chunk:
                    yield chunk
                lines = [line for line in chunk.splitlines(keepends=True) if not events.is_action(line)]
                kept, skip = lines[skip:], max(0, skip - len(lines))
                if kept:
                    yield b"".join(kept)


def without_first(body: bytes, lines: int) -> bytes:
    """Return the rest of a body after its first lines."""
    start = 0
    for _ in range(lines):
        start = body.find(b"\n", start) + 1
        if start == 0:
            return b""
    return body[start:]
