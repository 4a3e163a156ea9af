"""Clients that look at the clock: one that makes one create after another, and many that read slow streams at once."""

import asyncio
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self, cast

from bench.http import ANSWERED, FIRST_EVENT, PIECE, Answer, address_of
from bench.load import NotAResult

PATIENCE_S = 30
_BUFFER = 65536


@dataclass(frozen=True, slots=True)
class Times:
    """Times at which things of an answer came, in seconds after the request was sent."""

    first_event: float
    first_piece: float
    whole: float


class Caller:
    """One client on one connection, which its first request opens: a request at a time, each read to its end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connected: socket.socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._connected is not None:
            self._connected.close()

    @property
    def _connection(self) -> socket.socket:
        if self._connected is None:
            self._connected = socket.create_connection(address_of(self._url), PATIENCE_S)
            self._connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._connected

    def call(self, request: bytes) -> tuple[Answer, Times]:
        """Raises NotAResult: the answer is wrong."""
        answer = Answer()
        seen: dict[bytes, float] = {}
        whole, now, connection = False, 0.0, self._connection
        began = time.perf_counter()
        connection.sendall(request)
        while not whole:
            data = self._receive()
            now = time.perf_counter() - began
            whole = answer.feed(data)
            for mark in (FIRST_EVENT, PIECE):
                if mark not in seen and mark in answer.received:
                    seen[mark] = now
        _check(answer)
        return answer, Times(seen[FIRST_EVENT], seen[PIECE], now)

    def ask(self, request: bytes) -> Answer:
        """Make any request. Return its answer. Raises NotAResult: it was refused."""
        answer = Answer()
        self._connection.sendall(request)
        while not answer.feed(self._receive()):
            pass
        if not answer.received.startswith(ANSWERED):
            raise NotAResult(f"a request was refused: {answer.received[:500]!r}")
        return answer

    def _receive(self) -> bytes:
        data = self._connection.recv(_BUFFER)
        if not data:
            raise NotAResult("the server closed a connection")
        return data


def create_once(url: str, request: bytes) -> list[bytes]:
    """The lines of a create's answer."""
    with Caller(url) as caller:
        return caller.call(request)[0].lines


def create_in_turn(url: str, requests: Sequence[bytes]) -> list[Times]:
    """One client, one connection, one create at a time."""
    with Caller(url) as caller:
        return [caller.call(request)[1] for request in requests]


def _check(answer: Answer) -> None:
    if not answer.is_right:
        raise NotAResult(f"a wrong answer: {answer.received[:500]!r}")


class SlowStream(asyncio.Protocol):
    """A create whose pieces come slowly; `arrivals` are their times, in seconds after the request was sent."""

    def __init__(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.request = request
        self.arrivals: list[float] = []
        self.spoken = loop.create_future()
        self.done = loop.create_future()
        self._answer = Answer()
        self._end = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # that of uvloop is no subclass
        self._began = time.perf_counter()
        self._transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter() - self._began
        whole = self._answer.feed(data)
        seen = self._end + data  # a piece's mark may come in two parts
        self.arrivals += [now] * seen.count(PIECE)
        self._end = seen[1 - len(PIECE) :]
        if self.arrivals and not self.spoken.done():
            self.spoken.set_result(None)
        if whole:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self.spoken, self.done):
            if not future.done():
                future.set_result(None)

    def check(self) -> None:
        _check(self._answer)


async def open_slow_streams(
    url: str, requests: Sequence[bytes], ramp_s: float, limit_s: float, when_open: Callable[[], None]
) -> list[list[float]]:
    """Open streams one after another over `ramp_s` seconds, and read all to their ends.

    `when_open` is called once every stream has its first piece, and none has ended. Each stream's arrivals.

    Raises:
        NotAResult: a stream failed, ended before the last had begun, or took longer than `limit_s` seconds.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    streams: list[SlowStream] = []
    for number, request in enumerate(requests):
        await asyncio.sleep(began + ramp_s * number / len(requests) - loop.time())
        streams.append((await loop.create_connection(lambda request=request: SlowStream(request), *address_of(url)))[1])
    await asyncio.wait([stream.spoken for stream in streams], timeout=limit_s)
    if not all(stream.spoken.done() and not stream.done.done() for stream in streams):
        raise NotAResult("the slow streams were not all open at once")
    when_open()
    await asyncio.wait([stream.done for stream in streams], timeout=limit_s)
    for stream in streams:
        stream.check()
    return [stream.arrivals for stream in streams]
