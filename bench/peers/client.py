"""Creates on any server, by a client that knows the first piece and the end of a reply."""

import asyncio
import time
from dataclasses import dataclass, field

from bench.http import Answer, address_of
from bench.load import NotAResult
from bench.peers import Peer, Talk

START_S = 60
PATIENCE_S = 60
_BUFFER = 1 << 16


@dataclass
class Run:
    """Seconds to the first piece and to the end, of every create; and the time that all took."""

    firsts: list[float] = field(default_factory=list)
    wholes: list[float] = field(default_factory=list)
    seconds: float = 0


async def run(url: str, peer: Peer, connections: int, seconds: float) -> Run:
    """Create for some seconds, on so many connections that are kept; those under way then are finished, and count.

    Raises:
        NotAResult: an answer was wrong, or took too long.
    """
    await _wait_for(url)
    seen, began = Run(), time.perf_counter()
    work = [_create_on(url, peer, began + seconds, seen) for _ in range(connections)]
    try:
        async with asyncio.timeout(seconds + PATIENCE_S):
            await asyncio.gather(*work)
    except TimeoutError:
        raise NotAResult(f"{peer.title} does not answer") from None
    seen.seconds = time.perf_counter() - began
    return seen


async def _create_on(url: str, peer: Peer, ends_at: float, seen: Run) -> None:
    reader, writer = await asyncio.open_connection(*address_of(url))
    while time.perf_counter() < ends_at:
        talk, began, first = peer.talk(), time.perf_counter(), 0.0
        request: bytes | None = next(talk)
        answer = Answer()
        while request is not None:
            writer.write(request)
            answer, whole = Answer(), False
            while not whole:
                data = await reader.read(_BUFFER)
                whole = answer.feed(data) or not data
                if not first and peer.piece in answer.received:
                    first = time.perf_counter() - began
            request = _next(talk, answer)
        if not first or peer.end not in answer.received:
            raise NotAResult(f"{peer.title}: a wrong answer: {answer.received[:500]!r}")
        seen.firsts.append(first)
        seen.wholes.append(time.perf_counter() - began)
    writer.close()


def _next(talk: Talk, answer: Answer) -> bytes | None:
    try:
        return talk.send(answer)
    except StopIteration:
        return None


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
