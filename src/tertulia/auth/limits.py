"""Limits of a caller: so many requests a minute, so many sessions at once. Counted for one process."""

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter

from tertulia.errors import TooManyRequests

REMEMBERED = 100_000
"""Windows that are counted at once, at most: beyond that the oldest is forgotten."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """The standing of a caller: `remaining` requests until `reset_at`, in seconds since the epoch."""

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


class Counters(Storage):
    """Windows in memory, of one length, so that the first that began is the first to end."""

    STORAGE_SCHEME = None

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now = now
        self._windows: OrderedDict[str, tuple[int, float]] = OrderedDict()

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        count = self.get(key) + amount
        ends_at = self.get_expiry(key) if key in self._windows else self._now() + expiry
        self._windows[key] = (count, ends_at)
        if len(self._windows) > REMEMBERED:
            self._windows.popitem(last=False)
        return count

    def get(self, key: str) -> int:
        self._forget_ended()
        return self._windows.get(key, (0, 0.0))[0]

    def get_expiry(self, key: str) -> float:
        return self._windows.get(key, (0, self._now()))[1]

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    def _forget_ended(self) -> None:
        now = self._now()
        while self._windows and next(iter(self._windows.values()))[1] <= now:
            self._windows.popitem(last=False)


class Limiter:
    """Counts the requests and the sessions of callers in one process.

    `now` is a clock that nobody sets, `today` the one that callers know: a clock set back keeps nobody out.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic, today: Callable[[], float] = time.time) -> None:
        self._now = now
        self._today = today
        self._windows = FixedWindowRateLimiter(Counters(now))
        self._places: Counter[tuple[str, ...]] = Counter()

    def hit(self, per_minute: int, *who: str) -> Allowance:
        """Count a request of a caller to an operation. Return the standing after it."""
        item = RateLimitItemPerMinute(per_minute)
        return self._standing(item, who, allowed=self._windows.hit(item, *who))

    def standing(self, per_minute: int, *who: str) -> Allowance:
        """Look a caller's standing up without counting. Return whether one more request would be too many."""
        item = RateLimitItemPerMinute(per_minute)
        return self._standing(item, who, allowed=self._windows.test(item, *who))

    def _standing(self, item: RateLimitItemPerMinute, who: tuple[str, ...], *, allowed: bool) -> Allowance:
        ends_at, remaining = self._windows.get_window_stats(item, *who)
        left_s = ends_at - self._now()
        wait = 0 if allowed else max(1, math.ceil(left_s))
        return Allowance(item.amount, remaining, math.ceil(self._today() + left_s), wait)

    @contextmanager
    def place(self, most: int, refusal: str, *who: str) -> Generator[None]:
        """Take one of the places that somebody may have at once, while the block runs.

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
