"""Shares of a process: how much of it one user may take at once, so that the heaviest does not starve the others."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

User = tuple[str, str]
"""An organization and the identifier of a user in it."""


class Shares:
    """Places in which the requests of a user are worked on, so many at once; the others of the same user wait in order.

    A place is taken before a request's body is read and given back before a stream's body is sent: what waits is
    small, and a stream holds nothing.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._taken: dict[User, int] = {}
        self._waiting: dict[User, deque[asyncio.Future[None]]] = {}

    @asynccontextmanager
    async def place(self, user: User) -> AsyncGenerator[None]:
        """Take a place of a user, as soon as one is free, while the block runs."""
        taken = self._taken.get(user, 0)
        if taken < self._at_once:
            self._taken[user] = taken + 1
        else:
            await self._wait(user)
        try:
            yield
        finally:
            self._give_back(user)

    async def _wait(self, user: User) -> None:
        """Wait for a place that another request hands on."""
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # it was handed on to nobody
                self._give_back(user)
            raise

    def _give_back(self, user: User) -> None:
        """Hand a place on to the request of the user that waits longest, or free it."""
        waiting = self._waiting.get(user, deque())
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._waiting.pop(user, None)
        if self._taken[user] == 1:
            del self._taken[user]
        else:
            self._taken[user] -= 1


class ScarceShares:
    """Places for heavy work: one for each user, and so many for all users together. The others wait in order."""

    def __init__(self, of_all: int) -> None:
        self._of_users = Shares(1)
        self._of_all = asyncio.Semaphore(of_all)

    @asynccontextmanager
    async def place(self, user: User) -> AsyncGenerator[None]:
        """Take the place of a user, as soon as it and one of those of all are free, while the block runs."""
        async with self._of_users.place(user), self._of_all:
            yield
