"""The load, where there is no wrk: connections that each make one create after another, in a process of its own.

Run as `python -m bench.generator URL PATH CREATES CONNECTIONS SECONDS [alone]`; prints what happened as a line of JSON.
With `alone`, each create has a connection of its own.
"""

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import uvloop

from bench.http import Answer, Create, address_of, request_of

PATIENCE_S = 10


class Tally:
    """A load's events so far, and the creates that are still to be made."""

    def __init__(self, requests: Iterator[bytes], ends_at: float) -> None:
        self.requests = requests
        self.ends_at = ends_at
        self.creates = 0
        self.errors = 0

    def next(self) -> bytes | None:
        return next(self.requests, None) if time.perf_counter() < self.ends_at else None


class Connection(asyncio.Protocol):
    """One connection; `done` is set when it has nothing left to do."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # that of uvloop is no subclass
        self._send()

    def go_on(self) -> None:
        """Make the next create, or end."""
        self._send()

    def _send(self) -> None:
        self.answer = Answer()
        request = self.tally.next()
        if request is None:
            self.done.set_result(None)
            self.transport.close()
        else:
            self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if not self.answer.feed(data):
            return
        if self.answer.is_right:
            self.tally.creates += 1
        else:
            self.tally.errors += 1
        self.go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.tally.errors += 1
            self.done.set_result(None)


class Alone(Connection):
    """A connection that makes one create."""

    def go_on(self) -> None:
        self.done.set_result(None)
        self.transport.close()


async def run_alone(url: str, requests: Iterator[bytes], connections: int, seconds: float) -> dict[str, float]:
    """Make creates, each on a connection of its own, until there are none left."""
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    tally = Tally(requests, began + seconds)

    async def call() -> None:
        while (request := tally.next()) is not None:
            one = Tally(iter([request]), tally.ends_at)
            connection = (await loop.create_connection(lambda one=one: Alone(one), *address_of(url)))[1]
            await connection.done
            tally.creates, tally.errors = tally.creates + one.creates, tally.errors + one.errors

    await asyncio.gather(*(call() for _ in range(connections)))
    return {"creates": tally.creates, "errors": tally.errors, "seconds": time.perf_counter() - began}


async def run(url: str, requests: Iterator[bytes], connections: int, seconds: float) -> dict[str, float]:
    """Make creates for some seconds; those that are under way then are finished and count."""
    loop = asyncio.get_running_loop()
    began = time.perf_counter()
    tally = Tally(requests, began + seconds)
    made = [(await loop.create_connection(lambda: Connection(tally), *address_of(url)))[1] for _ in range(connections)]
    await asyncio.wait([connection.done for connection in made], timeout=seconds + PATIENCE_S)
    unfinished = sum(not connection.done.done() for connection in made)
    elapsed = time.perf_counter() - began
    return {"creates": tally.creates, "errors": tally.errors + unfinished, "seconds": elapsed}


def main() -> None:
    url, path, creates, connections, seconds, *alone = sys.argv[1:]
    lines = Path(creates).read_text(encoding="ascii").splitlines()
    requests = [request_of(path, Create(*line.split(" ", 2))) for line in lines]
    load = run_alone if alone else run
    print(json.dumps(uvloop.run(load(url, iter(requests), int(connections), float(seconds)))))


if __name__ == "__main__":
    main()
