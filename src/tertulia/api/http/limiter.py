"""How many requests a minute: the counters, and the headers that tell callers where they stand."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from limits import RateLimitItemPerMinute
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.types import Scope

from tertulia.errors import TooManyRequests

REMEMBERED = 100_000
"""Windows that are counted at once, at most: beyond that the oldest is forgotten."""

_SCOPE_KEY = "tertulia.allowance"


@dataclass(frozen=True, slots=True)
class Allowance:
    """Where a caller stands: `remaining` requests until `reset_at`, in seconds since the epoch."""

    limit: int
    remaining: int
    reset_at: int

    def put(self, scope: Scope) -> None:
        """Have the response tell it, whatever response it will be: a plain one, a stream, an error."""
        scope[_SCOPE_KEY] = self

    @staticmethod
    def tell(scope: Scope, headers: MutableHeaders) -> None:
        """Put a limited request's allowance into the headers of its response."""
        allowance: Allowance | None = scope.get(_SCOPE_KEY)
        if allowance is not None:
            headers["X-RateLimit-Limit"] = str(allowance.limit)
            headers["X-RateLimit-Remaining"] = str(allowance.remaining)
            headers["X-RateLimit-Reset"] = str(allowance.reset_at)


class Counters(Storage):
    """Windows in memory, of one length, so that the first that began is the first to end."""

    STORAGE_SCHEME = None

    def __init__(self, now: Callable[[], float] = time.time) -> None:
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
    """Counts the requests of one process."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._windows = FixedWindowRateLimiter(Counters(now))

    def hit(self, scope: Scope, per_minute: int, *who: str) -> None:
        """Count a request of somebody to something; its response will tell where they stand.

        Raises:
            TooManyRequests: it is one too many.
        """
        item = RateLimitItemPerMinute(per_minute)
        allowed = self._windows.hit(item, *who)
        reset_at, remaining = self._windows.get_window_stats(item, *who)
        Allowance(per_minute, remaining, math.ceil(reset_at)).put(scope)
        if not allowed:
            wait = max(1, math.ceil(reset_at - self._now()))
            raise TooManyRequests(f"More than {per_minute} requests a minute to this endpoint.", wait)
