"""The open connections of a process: their bounds, and which of them go when there are too many."""

import asyncio
import resource
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

RESERVED_DESCRIPTORS = 64
"""Descriptors that are kept for databases, models and files."""

MOST_DESCRIPTORS = 65_536
"""A process asks for no more, whatever the host would grant."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits on what a connection may send, keep or leave unread. Times are in seconds."""

    head_bytes: int = 64 * 1024
    """The longest head of a request; 431 beyond."""
    head_fields: int = 256
    """The most fields of a head; 431 beyond."""
    head_s: float = 20.0
    """The longest time from a connection's beginning, or a head's first byte, to the end of the head; 408 beyond."""
    overhead_bytes: int = 16 * 1024
    """The most that a chunked body may send without a byte of content: trailers and extensions; 400 beyond."""
    pipelined: int = 32
    """The most requests that wait for the answer to one before them; the connection ends after these."""
    rest_bytes: int = 64 * 1024
    """The most of an answered request's body that is read on, so that its connection can be used again."""
    linger_bytes: int = 64 << 20
    """The most that is thrown away of what a refused client still sends, so that the refusal reaches it. A proxy that
    cannot send a whole body has no ear for the refusal, and says 502."""
    linger_s: float = 2.0
    """The longest time for that."""
    answer_stall_s: float = 60.0
    """A client that takes nothing of a complete answer for so long is cut off."""
    stream_stall_s: float = 330.0
    """A client that takes nothing of an answer that is being made for so long is cut off. Longer than the stream's own
    limit, which says so in the log."""
    handshake_s: float = 20.0
    """The longest time from a WebSocket's request to its answer."""
    connections: int = 0
    """The most connections of a process; 0: as many as the descriptors allow."""
    look_s: float = 5.0
    """The time between two looks at all connections."""


PROGRESS_BYTES = 4096
"""The least that a client must take of a complete answer between two looks a stall apart."""


class Connection(Protocol):
    """A connection as the register sees it."""

    transport: Any

    @property
    def is_answering(self) -> bool:
        """True while an answer is being made."""
        ...

    def make_room(self) -> None:
        """Close now, for others."""
        ...


class Connections:
    """The register of a process's connections. It watches what clients leave unread, and makes room when it is full."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._most = bounds.connections or _affordable()
        self._open: dict[Connection, _Unsent] = {}
        self._idle: dict[Connection, None] = {}
        """In the order in which they became idle."""
        self._looking: asyncio.TimerHandle | None = None
        self._told = False

    def __len__(self) -> int:
        return len(self._open)

    def add(self, connection: Connection) -> bool:
        """Register a connection; return False if there is no room, not even after closing the oldest idle one."""
        if len(self._open) >= self._most and not self.make_room():
            return False
        loop = asyncio.get_running_loop()
        self._open[connection] = _Unsent(loop.time())
        if self._looking is None:
            self._looking = loop.call_later(self.bounds.look_s, self._look)
        return True

    def remove(self, connection: Connection) -> None:
        """Forget a connection that is gone."""
        self._open.pop(connection, None)
        self._idle.pop(connection, None)
        if len(self._open) < self._most * 3 // 4:
            self._told = False

    def set_idle(self, connection: Connection) -> None:
        """Note that a connection waits for a request from now on."""
        if connection in self._open:
            self._idle.pop(connection, None)
            self._idle[connection] = None

    def set_busy(self, connection: Connection) -> None:
        """Note that a connection has a request."""
        self._idle.pop(connection, None)

    def make_room(self) -> bool:
        """Close the connection that has been idle for longest, and say so once; return False if there is none."""
        if not self._told:
            self._told = True
            _log.warning("connections run out: the oldest idle ones are closed", open=len(self._open), most=self._most)
        oldest = next(iter(self._idle), None)
        if oldest is None:
            return False
        self.remove(oldest)
        oldest.make_room()
        return True

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for connection, unsent in list(self._open.items()):
            stall_s = self.bounds.stream_stall_s if connection.is_answering else self.bounds.answer_stall_s
            if unsent.is_stuck(connection, now, stall_s):
                _log.info("client cut off", reason="it did not take its answer")
                connection.transport.abort()
        self._looking = loop.call_later(self.bounds.look_s, self._look) if self._open else None


class _Unsent:
    """The bytes that a client has not taken, and since when it takes too few."""

    __slots__ = ("_bytes", "_since")

    def __init__(self, now: float) -> None:
        self._bytes = 0
        self._since = now

    def is_stuck(self, connection: Connection, now: float, stall_s: float) -> bool:
        """Return True if the client has taken too little for longer than `stall_s`."""
        transport = connection.transport
        unsent = transport.get_write_buffer_size()
        least = 1 if connection.is_answering else PROGRESS_BYTES
        waits = unsent > 0 or transport.is_closing()
        if not waits or abs(unsent - self._bytes) >= least:
            self._bytes, self._since = unsent, now
        return waits and now - self._since >= stall_s


def _affordable() -> int:
    """Raise this process's limit of descriptors as far as it may; return how many connections it affords."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    return max(16, min(soft if soft != resource.RLIM_INFINITY else wanted, MOST_DESCRIPTORS) - RESERVED_DESCRIPTORS)
