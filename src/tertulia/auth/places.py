"""Places in a process, of which one user takes so many at once: the heaviest user does not starve the others."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

UserKey = tuple[str, str]
"""An organization and the identifier of a user in it."""


class Places:
    """Places in which the requests of a user are worked on, so many at once; the others of the same user wait in order.

    A place is taken before a request's body is read and given back before a stream's body is sent: what waits is
    small, and a stream holds nothing.
    """

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._taken: dict[UserKey, int] = {}
        self._waiting: dict[UserKey, deque[asyncio.Future[None]]] = {}

    def place(self, user: UserKey) -> "_Place":
        """Take a place of a user, as soon as one is free, while the block runs."""
        return _Place(self, user)

    async def take(self, user: UserKey) -> None:
        """Take a place of a user, as soon as one is free."""
        taken = self._taken.get(user, 0)
        if taken < self._at_once:
            self._taken[user] = taken + 1
        else:
            await self._wait(user)

    async def _wait(self, user: UserKey) -> None:
        """Wait for a place that another request hands on."""
        promised = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(user, deque()).append(promised)
        try:
            await promised
        except asyncio.CancelledError:
            if promised.done() and not promised.cancelled():  # it was handed on to nobody
                self.give_back(user)
            raise

    def give_back(self, user: UserKey) -> None:
        """Hand a place on to the request of the user that waits longest, or free it."""
        waiting = self._waiting.get(user, deque())
        while waiting:
            promised = waiting.popleft()
            if not promised.done():
                promised.set_result(None)
                return
        self._waiting.pop(user, None)
        if self._taken[user] == 1:
            del self._taken[user]
        else:
            self._taken[user] -= 1


class _Place:
    """A place of a user. Every request takes one, and a class costs less than a generator."""

    __slots__ = ("_places", "_user")

    def __init__(self, places: Places, user: UserKey) -> None:
        self._places = places
        self._user = user

    async def __aenter__(self) -> None:
        await self._places.take(self._user)

    async def __aexit__(self, *_error: object) -> None:
        self._places.give_back(self._user)


class ScarcePlaces:
    """Places for heavy work: one for each user, and so many for all users together. The others wait in order."""

    def __init__(self, of_all: int) -> None:
        self._of_users = Places(1)
        self._of_all = asyncio.Semaphore(of_all)

    @asynccontextmanager
    async def place(self, user: UserKey) -> AsyncGenerator[None]:
        """Take the place of a user, as soon as it and one of those of all are free, while the block runs."""
        async with self._of_users.place(user), self._of_all:
            yield


class HeavyThread:
    """A thread for work that keeps the interpreter to itself for some hundredths of a second: one piece at a time.

    A thread that decodes a large body does not let the event loop run meanwhile. Several of them take turns with each
    other, and the loop waits for all.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="heavy")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do a piece of work when those before it are done. Return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))

    def close(self) -> None:
        """End the thread; work that waits is not done any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
