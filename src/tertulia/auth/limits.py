"""Limits of a caller: so many requests a minute, so many sessions at once.

The requests of a caller are counted in this process and, if there is a Redis, in that one for all processes: then the
shared count decides, and the one of this process only if the Redis does not.
"""

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from tertulia.errors import TooManyRequests

WINDOW_S = 60
"""The length of a window, which begins with a caller's first request."""

REMEMBERED = 100_000
"""Windows that are counted at once, at most: beyond that the oldest is forgotten."""

Off = Literal["off"]


@dataclass(frozen=True, slots=True)
class Allowance:
    """The allowance of a caller: `remaining` requests until `reset_at`, in seconds since the epoch."""

    limit: int
    remaining: int
    reset_at: int
    retry_after: int = 0
    """Whole seconds that a caller who asked once too often has to wait; 0 for others."""

    def refuse(self) -> None:
        """Raise TooManyRequests if the request was one too many."""
        if self.retry_after:
            text = f"More than {self.limit} requests a minute to this endpoint."
            raise TooManyRequests(text, self.retry_after)


def allowance_of(limit: int, remaining: int, left_s: float, today: float, *, allowed: bool) -> Allowance:
    """Make the allowance of a caller whose window lasts `left_s` seconds more, at a time since the epoch. Return it."""
    return Allowance(limit, remaining, math.ceil(today + left_s), 0 if allowed else max(1, math.ceil(left_s)))


class SharedWindows(Protocol):
    """Windows that are counted for all processes of an installation; see `auth.shared_limits`."""

    async def count(self, limit: int, who: tuple[str, ...], amount: int) -> Allowance | None:
        """Count `amount` requests of a caller, 0 or 1. Return the allowance after it, or None if nobody answers."""
        ...


class Windows:
    """Windows in memory, all of one length, so that the first that began is the first to end.

    `now` is a clock that nobody sets, `today` the one that callers know: a clock set back keeps nobody out.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, today: Callable[[], float] = time.time) -> None:
        self._now = now
        self._today = today
        self._windows: OrderedDict[tuple[str, ...], tuple[int, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def count(self, limit: int, who: tuple[str, ...], amount: int) -> Allowance:
        """Count `amount` requests of a caller, 0 or 1, unless they are too many. Return the allowance after it."""
        now = self._now()
        self._forget_ended(now)
        count, ends_at = self._windows.get(who, (0, now + WINDOW_S))
        allowed = count < limit
        if allowed and amount:
            count += amount
            self._windows[who] = count, ends_at
            if len(self._windows) > REMEMBERED:
                self._windows.popitem(last=False)
        return allowance_of(limit, max(0, limit - count), ends_at - now, self._today(), allowed=allowed)

    def _forget_ended(self, now: float) -> None:
        while self._windows and next(iter(self._windows.values()))[1] <= now:
            self._windows.popitem(last=False)


class Limiter:
    """A limiter of the requests and the sessions of callers.

    `changed` has the limits of operations that are not the usual ones, and `usual` is False if all others have none.
    """

    def __init__(
        self,
        windows: Windows,
        shared: SharedWindows | None = None,
        changed: Mapping[str, int | Off] | None = None,
        *,
        usual: bool = True,
    ) -> None:
        self._windows = windows
        self._shared = shared
        self._changed = changed or {}
        self._usual = usual
        self._places: Counter[tuple[str, ...]] = Counter()

    def limit_of(self, operation: str, usual: int) -> int | None:
        """Look up how often a minute a caller may ask for an operation. Return it, or None for no limit.

        A second limit of an operation has a name behind a colon: it has a number of its own, and is off if the
        operation's is.
        """
        if not self._changed:
            return usual if self._usual else None
        name, _, counted = operation.partition(":")
        limit = self._changed.get(name, usual if self._usual else "off")
        return None if limit == "off" else usual if counted else limit

    async def hit(self, operation: str, usual: int, *who: str) -> Allowance | None:
        """Count a request of a caller to an operation. Return the allowance after it, or None if it has no limit."""
        return await self._count(operation, usual, who, 1)

    async def allowance(self, operation: str, usual: int, *who: str) -> Allowance | None:
        """Look up a caller's allowance without counting. Return it, or None if the operation has no limit."""
        return await self._count(operation, usual, who, 0)

    async def _count(self, operation: str, usual: int, who: tuple[str, ...], amount: int) -> Allowance | None:
        limit = self.limit_of(operation, usual)
        if limit is None:
            return None
        named = (operation, *who)
        here = self._windows.count(limit, named, amount)
        if self._shared is None:
            return here
        return await self._shared.count(limit, named, amount) or here

    @contextmanager
    def place(self, most: int, refusal: str, *who: str) -> Generator[None]:
        """Take one of the places that somebody may have at once in this process, while the block runs.

        Raises:
            TooManyRequests: all are taken; `refusal` says so.
        """
        if self._places[who] >= most:
            raise TooManyRequests(refusal, 1)
        self._places[who] += 1
        try:
            yield
        finally:
            self._places[who] -= 1
            if not self._places[who]:
                del self._places[who]
