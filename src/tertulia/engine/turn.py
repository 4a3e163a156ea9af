"""A running turn: a log of encoded events that one task writes and any number of readers follow.

The turn outlives its readers: a client that leaves ends nothing, and nobody waits for a slow one.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable

from tertulia import events
from tertulia.errors import TertuliaError
from tertulia.events import Event

ActionFilter = Callable[[str], bool]
"""Whether the caller wants to hear of an action of this type."""


def no_actions(_action_type: str) -> bool:
    """The filter of a caller who may not see the agent's actions."""
    return False


class Turn:
    """The log of a turn. Written and read on one event loop."""

    __slots__ = ("_lines", "_loop", "_waiters", "closed", "settling", "stopped_by", "task", "touched", "wants")

    def __init__(self, wants: ActionFilter) -> None:
        self.wants = wants
        self.closed = False
        self.settling = False
        """Whether the turn is being committed: from here on it cannot be stopped."""
        self.stopped_by: TertuliaError | None = None
        self.task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.touched = self._loop.time()
        """When the turn last made an event, by the event loop's clock, in seconds."""
        self._lines: list[bytes] = []
        self._waiters: list[asyncio.Future[None]] = []

    def append(self, event: Event) -> None:
        """Add an event, unless it is an action that the caller does not want."""
        self.touched = self._loop.time()
        if isinstance(event, events.CurrentAgentAction) and not self.wants(events.action_type(event.action)):
            return
        self._lines.append(events.encode(event))
        self._wake()

    def close(self) -> None:
        """Say that no event will follow."""
        self.closed = True
        self._wake()

    def stop(self, error: TertuliaError) -> None:
        """End the turn with this error, unless it is being committed already."""
        if self.task and not self.settling:
            self.stopped_by = error
            self.task.cancel()

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def follow(self) -> AsyncGenerator[bytes, None]:
        """The log from its beginning, whole lines as they come; several at once where the reader was slow."""
        read = 0
        while True:
            if read < len(self._lines):
                chunk = b"".join(self._lines[read:])
                read = len(self._lines)
                yield chunk
            elif self.closed:
                return
            else:
                waiter = self._loop.create_future()
                self._waiters.append(waiter)
                await waiter
