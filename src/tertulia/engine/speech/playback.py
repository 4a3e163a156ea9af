"""The heard part of a reply, by the clock: sound is sent ahead of its being heard, but never far.

Nobody tells the server what a loudspeaker plays. It is taken to play what was sent from the moment it was sent, without
a pause while there is something left.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

LEAD_MS = 400.0
"""The lead of the sender over the listener at most, in milliseconds of sound."""


NEGLIGIBLE_MS = 0.001
"""No time is waited for so little, which is less than a sample: a clock's numbers are not exact."""


class Handle(Protocol):
    """Something that is to happen later, or not."""

    def cancel(self) -> None: ...


class Timer(Protocol):
    """A clock that calls back; an event loop is one."""

    def time(self) -> float:
        """Return seconds since some moment; the time never goes back."""
        ...

    def call_later(self, delay: float, callback: Callable[[], object]) -> Handle:
        """Call back after `delay` seconds."""
        ...


class Interrupted(Exception):
    """The listener spoke, and has heard `heard_ms` of the sound and no more."""

    def __init__(self, heard_ms: float) -> None:
        super().__init__(f"interrupted after {heard_ms:.0f} ms")
        self.heard_ms = heard_ms


class Playback:
    """One reply on its way to one listener. Without a timer, the running event loop is its clock."""

    def __init__(self, timer: Timer | None = None) -> None:
        self._timer = timer or asyncio.get_running_loop()
        self._sent_ms = 0.0
        self._heard_ms = 0.0
        """Heard at `_at`, a time of the timer."""
        self._at = self._timer.time()
        self._interrupted = False
        self._waiters: set[asyncio.Future[None]] = set()
        self._attended: set[asyncio.Timeout] = set()

    @property
    def sent_ms(self) -> float:
        """Sound that was sent, in milliseconds."""
        return self._sent_ms

    @property
    def heard_ms(self) -> float:
        """Sound that has been heard, in milliseconds: never more than was sent, and no more once interrupted."""
        if not self._interrupted:
            now = self._timer.time()
            self._heard_ms = min(self._sent_ms, self._heard_ms + (now - self._at) * 1000)
            self._at = now
        return self._heard_ms

    @property
    def interrupted(self) -> bool:
        """True if the listener has spoken."""
        return self._interrupted

    async def sent(self, ms: float) -> None:
        """Note that so much more sound was sent, and wait until the listener is at most `LEAD_MS` behind.

        Raises:
            Interrupted: the listener has spoken, before or meanwhile.
        """
        if not self._interrupted:
            _ = self.heard_ms  # what is sent now is heard from now, had there been nothing left
            self._sent_ms += ms
        await self._until_left(LEAD_MS)

    async def played(self) -> None:
        """Wait until all that was sent has been heard.

        Raises:
            Interrupted: the listener has spoken, before or meanwhile.
        """
        await self._until_left(0)

    def interrupt(self) -> None:
        """Say that the listener has spoken: `heard_ms` stands still from here, and who waits goes on at once."""
        if self._interrupted:
            return
        _ = self.heard_ms
        self._interrupted = True
        for waiter in self._waiters:
            _wake(waiter)
        for block in self._attended:
            block.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def attended(self) -> AsyncGenerator[None]:
        """Run a block, and end it as soon as the listener speaks.

        Raises:
            Interrupted: the listener has spoken, before or meanwhile.
        """
        if self._interrupted:
            raise Interrupted(self._heard_ms)
        block = asyncio.timeout(None)
        try:
            async with block:
                self._attended.add(block)
                try:
                    yield
                finally:
                    self._attended.discard(block)
        except TimeoutError:
            if not block.expired():
                raise
            raise Interrupted(self._heard_ms) from None

    async def _until_left(self, ms: float) -> None:
        """Wait until so much is left to be heard, or less."""
        while not self._interrupted and (more := self._sent_ms - self.heard_ms - ms) > NEGLIGIBLE_MS:
            waiter = asyncio.get_running_loop().create_future()
            handle = self._timer.call_later(more / 1000, lambda waiter=waiter: _wake(waiter))
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
                handle.cancel()
        if self._interrupted:
            raise Interrupted(self._heard_ms)


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
