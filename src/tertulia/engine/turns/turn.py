"""A turn as a log of encoded events, which one task writes and any number of readers follow.

A turn outlives its readers: a client that leaves ends nothing, and nobody waits for a slow one. Lines are numbered from
1; a reader that has had `after` of them reads on from there.
"""

import asyncio
import zlib
from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from tertulia import events
from tertulia.errors import ModelMisbehaved, TertuliaError
from tertulia.events import Event
from tertulia.storage.database.units import Database
from tertulia.storage.turn.values import Claim

ActionFilter = Callable[[str], bool]
"""Whether the caller wants to hear of an action of this type."""

CHUNK_BYTES = 1 << 16
"""What a reader that lags behind is given at once, at most but for one line."""

BLOCK_BYTES = 1 << 12
"""What is kept as it is; older lines are compressed, so that a long turn and its slow readers cost little memory."""

LOG_BYTES = 1 << 23
"""A turn that makes more than this has gone wrong."""

SPOKEN_LOG_BYTES = 1 << 26
"""As `LOG_BYTES`, where the reply is spoken: some seventeen minutes of PCM."""


def no_actions(_action_type: str) -> bool:
    """The filter of a caller who may not see the agent's actions."""
    return False


class EventLog(Protocol):
    """Something that a stream can be read from."""

    def follow(self, after: int = 0) -> AsyncGenerator[bytes, None]:
        """Whole lines of NDJSON after the first `after`, as they come, several at once where the reader lags."""
        ...


class Turn:
    """A running turn. Written and read on one event loop."""

    __slots__ = (
        "_begun",
        "_block_ends",
        "_blocks",
        "_level",
        "_limit",
        "_lines",
        "_loop",
        "_size",
        "_tail",
        "_waiters",
        "claim",
        "closed",
        "database",
        "settled",
        "settling",
        "stopped_by",
        "task",
        "touched",
        "wants",
    )

    def __init__(self, database: Database, claim: Claim, wants: ActionFilter) -> None:
        self.database = database
        self.claim = claim
        self.wants = wants
        self._limit = LOG_BYTES
        self._level = 1
        """How hard older lines are compressed."""
        self.closed = False
        self.settling = False
        """Whether the turn is being committed: from here on it cannot be stopped."""
        self.settled = False
        """Whether the turn is committed."""
        self.stopped_by: BaseException | None = None
        """Why the turn is void: from here on there is nothing more to stop."""
        self.task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.touched = self._loop.time()
        """When the turn last showed life, by the event loop's clock, in seconds."""
        self._begun = False
        self._blocks: list[bytes] = []
        self._block_ends: list[int] = []
        """How many lines there are up to the end of each block."""
        self._lines: list[bytes] = []
        """Those after the blocks; `_tail` is their size."""
        self._tail = 0
        self._size = 0
        self._waiters: list[asyncio.Future[None]] = []

    @property
    def body(self) -> bytes:
        """Everything so far."""
        return b"".join([*map(zlib.decompress, self._blocks), *self._lines])

    def expect_sound(self) -> None:
        """Say that the reply is spoken: there may be more of it, and sound is hardly smaller when it is compressed."""
        self._limit, self._level = SPOKEN_LOG_BYTES, 0

    def touch(self, ahead_s: float = 0) -> None:
        """Say that the turn lives, and may be silent for so many seconds before that is counted."""
        self.touched = self._loop.time() + ahead_s

    def tell(self, event: Event) -> None:
        """Add an event, unless it is an action that the caller does not want.

        Raises:
            ModelMisbehaved: there is no end to it.
        """
        self.touched = self._loop.time()
        if isinstance(event, events.CurrentAgentAction) and not self.wants(events.action_type(event.action)):
            return
        if self._size > self._limit:
            raise ModelMisbehaved("the reply has no end")
        self.append(events.encode(event))

    def append(self, line: bytes) -> None:
        """Add an encoded event."""
        self._lines.append(line)
        self._size += len(line)
        self._tail += len(line)
        if self._tail > BLOCK_BYTES:
            self._pack()
        self._wake()

    def _pack(self) -> None:
        self._block_ends.append(self._count)
        self._blocks.append(zlib.compress(b"".join(self._lines), self._level))
        self._lines, self._tail = [], 0

    @property
    def _packed(self) -> int:
        return self._block_ends[-1] if self._block_ends else 0

    @property
    def _count(self) -> int:
        """How many lines there are."""
        return self._packed + len(self._lines)

    def close(self) -> None:
        """Say that no event will follow."""
        self.closed = True
        self._wake()

    def begin(self) -> None:
        """Say that the task runs. Raises what the turn was stopped by before it did."""
        self._begun = True
        self._raise_if_stopped()

    async def first_line(self) -> None:
        """Wait until there is a line. Raises what the turn ended by, where that is its only one."""
        while not self._count and not self.closed:
            await self._more()
        if self.closed and self._count <= 1 and isinstance(self.stopped_by, Exception) and not self.settled:
            raise self.stopped_by

    def begin_settling(self) -> None:
        """Say that the turn is being committed. Raises what stopped it before, had the cancellation got lost."""
        self._raise_if_stopped()
        self.settling = True

    def _raise_if_stopped(self) -> None:
        if self.stopped_by is not None:
            raise self.stopped_by

    def stop(self, error: TertuliaError) -> bool:
        """End the turn with this error. False: it is too late, the turn is being committed."""
        if self.task is None or (self.settling and self.stopped_by is None):
            return False
        if self.stopped_by is None:
            self.stopped_by = error
            if self._begun:  # a task that is cancelled before its first step never runs, nor its `finally`
                self.task.cancel()
        return True

    async def ended(self) -> None:
        """Wait until the turn is settled or abandoned."""
        if self.task is not None:
            await asyncio.wait([self.task])

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _more(self) -> asyncio.Future[None]:
        """Done when there is another line, or none will follow."""
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        return waiter

    async def follow(self, after: int = 0) -> AsyncGenerator[bytes, None]:
        read = after
        while True:
            if read < self._packed:
                block = bisect_right(self._block_ends, read)
                skipped = read - (self._block_ends[block - 1] if block else 0)
                read = self._block_ends[block]
                yield _after(zlib.decompress(self._blocks[block]), skipped)
            elif read < self._count:
                first, read = read - self._packed, self._count
                yield b"".join(self._lines[first:])
            elif self.closed:
                return
            else:
                await self._more()


class Recorded:
    """A turn that has ended, read from its recorded body."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def follow(self, after: int = 0) -> AsyncGenerator[bytes, None]:
        body = _after(self._body, after)
        for position in range(0, len(body), CHUNK_BYTES):
            yield body[position : position + CHUNK_BYTES]


def _after(body: bytes, lines: int) -> bytes:
    """What is left of a body without its first lines."""
    start = 0
    for _ in range(lines):
        start = body.find(b"\n", start) + 1
        if start == 0:
            return b""
    return body[start:]
