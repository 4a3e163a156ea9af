"""Creates on any server, by a client that knows the first piece and the end of a reply."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from bench.http import Answer, address_of
from bench.load import NotAResult
from bench.peers import Peer

START_S = 60
PATIENCE_S = 60
_BUFFER = 1 << 16


@dataclass
class Run:
    """What was seen: seconds to the first piece and to the end, of every create; and how long it all took."""

    firsts: list[float] = field(default_factory=list)
    wholes: list[float] = field(default_factory=list)
    seconds: float = 0


async def run(url: str, peer: Peer, connections: int, seconds: float) -> Run:
    """Create for some seconds, on so many connections that are kept; those under way then are finished, and count.

    Raises:
        NotAResult: an answer was wrong, or took too long.
    """
    await _wait_for(url)
    seen, requests, began = Run(), peer.requests(), time.perf_counter()
    work = [_create_on(url, peer, requests, began + seconds, seen) for _ in range(connections)]
    try:
        async with asyncio.timeout(seconds + PATIENCE_S):
            await asyncio.gather(*work)
    except TimeoutError:
        raise NotAResult(f"{peer.title} does not answer") from None
    seen.seconds = time.perf_counter() - began
    return seen


async def _create_on(url: str, peer: Peer, requests: Iterator[bytes], ends_at: float, seen: Run) -> None:
    reader, writer = await asyncio.open_connection(*address_of(url))
    while time.perf_counter() < ends_at:
        answer, first, began = Answer(), 0.0, time.perf_counter()
        writer.write(next(requests))
        whole = False
        while not whole:
            data = await reader.read(_BUFFER)
            now = time.perf_counter() - began
            whole = answer.feed(data) or not data
            if not first and peer.piece in answer.received:
                first = now
        if not first or peer.end not in answer.received:
            raise NotAResult(f"{peer.title}: a wrong answer: {answer.received[:500]!r}")
        seen.firsts.append(first)
        seen.wholes.append(now)
    writer.close()


async def _wait_for(url: str) -> None:
    """Until it takes connections: some say where they answer before they do."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        try:
            _, writer = await asyncio.open_connection(*address_of(url))
        except OSError:
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return
    raise NotAResult(f"nothing answers on {url}")
