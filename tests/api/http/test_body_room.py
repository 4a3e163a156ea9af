"""The bodies of all requests that a process works on have one room together."""

import asyncio
from typing import Any

import pytest

from tertulia.api.http.middleware import BodyLimits
from tertulia.errors import Unavailable
from tertulia.settings import LimitSettings

LIMITS = LimitSettings(body_bytes=4096, bodies_bytes=10_000)
SCOPE: dict[str, Any] = {"type": "http", "headers": [], "query_string": b"", "path": "/"}


class Sender:
    """A client who sends some bytes of a body, and the rest when it is let."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.held = asyncio.Event()
        self.goes_on = asyncio.Event()
        self._sent = False

    async def receive(self) -> dict[str, Any]:
        if self._sent:
            self.held.set()
            await self.goes_on.wait()
            return {"type": "http.request", "body": b"", "more_body": False}
        self._sent = True
        return {"type": "http.request", "body": bytes(self.size), "more_body": True}


async def application(_scope: Any, receive: Any, _send: Any) -> None:
    while (await receive()).get("more_body"):
        pass


async def send(_message: Any) -> None:
    raise AssertionError("nothing is answered")


async def test_a_body_that_finds_no_room_is_refused_and_room_comes_back() -> None:
    limits = BodyLimits(application, LIMITS)
    slow = [Sender(4000), Sender(4000)]
    tasks = [asyncio.create_task(limits(SCOPE, each.receive, send)) for each in slow]
    for each in slow:
        await each.held.wait()

    with pytest.raises(Unavailable):
        await limits(SCOPE, Sender(2001).receive, send)
    small = Sender(2000)
    small.goes_on.set()
    await limits(SCOPE, small.receive, send)
    slow[0].goes_on.set()
    await tasks[0]
    large = Sender(4000)
    large.goes_on.set()
    await limits(SCOPE, large.receive, send)

    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    largest = [Sender(4096), Sender(4096)]
    for each in largest:
        each.goes_on.set()
        await limits(SCOPE, each.receive, send)
