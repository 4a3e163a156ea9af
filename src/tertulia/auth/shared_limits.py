"""Limits of a caller that all workers and hosts of an installation count together, in a Redis.

Decisions that are asked for while others are on their way leave together, on one connection. A Redis that does not
answer in time decides nothing until it answers again: each process counts for itself meanwhile.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any

import msgspec
import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import InvalidResponse, RedisError

from tertulia.auth.limits import WINDOW_S, Allowance, allowance_of

LOOK_S = 1.0
"""The time after which a Redis that has not answered is asked again."""

CONNECT_S = 2.0
"""The longest time for such a question, which connects anew."""

LOOKS = 5
"""Looks for an answer until the deadline. A process that is late itself looks as often: the Redis is not to blame."""

MOST = 500
"""Decisions that leave together, at most."""

DECIDE = """
local decisions = {}
for number, name in ipairs(KEYS) do
  local limit, amount, left = tonumber(ARGV[2 * number]), tonumber(ARGV[2 * number + 1]), redis.call('PTTL', name)
  local count = left > 0 and tonumber(redis.call('GET', name)) or 0
  if left <= 0 then left = tonumber(ARGV[1]) end
  local allowed = count < limit and 1 or 0
  if allowed * amount == 1 then
    if count == 0 then redis.call('SET', name, 1, 'PX', left) else redis.call('INCR', name) end
    count = count + 1
  end
  table.insert(decisions, {allowed, math.max(0, limit - count), left})
end
return decisions
"""
"""Decisions, which nothing comes between, each {allowed, remaining, milliseconds that the window lasts}."""

_log = structlog.get_logger(__name__)

_FAILURES = (RedisError, OSError, TimeoutError)

_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
_Decision = tuple[
    Annotated[int, msgspec.Meta(ge=0, le=1)], _Count, Annotated[int, msgspec.Meta(ge=0, le=WINDOW_S * 1000)]
]
msgspec.json.Decoder(list[_Decision])  # msgspec learns a type before threads have it
_Wanted = tuple[tuple[str, int, int], asyncio.Future[Sequence[int] | None]]


class RedisWindows:
    """Windows in a Redis. `secret` makes names of them, by which nobody learns whose they are.

    An answer is waited for as long as `deadline_s`.
    """

    def __init__(self, url: str, secret: bytes, deadline_s: float) -> None:
        client: Any = Redis
        # Once more on a new connection, for one that was idle may have been closed.
        self._redis = client.from_url(url, protocol=2, retry=Retry(NoBackoff(), 1), socket_keepalive=True)
        self._secret = secret
        self._deadline_s = deadline_s
        self._answers: bool | None = None
        """None: it has not been asked yet."""
        self._wanted: list[_Wanted] = []
        self._sending: asyncio.Task[None] | None = None

    async def count(self, limit: int, who: tuple[str, ...], amount: int) -> Allowance | None:
        """Count `amount` requests of a caller, 0 or 1. Return the allowance after it, or None if nobody answers."""
        if not self._answers:
            return None
        decision = asyncio.get_running_loop().create_future()
        self._wanted.append(((self._name(who), limit, amount), decision))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())
        decided = await decision
        if decided is None:
            return None
        allowed, remaining, left_ms = decided
        return allowance_of(limit, remaining, left_ms / 1000, time.time(), allowed=bool(allowed))

    async def look(self) -> None:
        """Ask a Redis that does not answer, or has not been asked yet, if it decides."""
        if self._answers:
            return
        question = [(self._name(("look",)), 1 << 31, 1)]  # counted, for one that is full or a replica answers, too
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._redis.connection_pool.disconnect()
                await self._decide(question)
            await self._in_time(question)
        except _FAILURES as error:
            self._lose(error)
        else:
            self._answers = True
            _log.info("limits are shared through Redis")

    @asynccontextmanager
    async def open(self) -> AsyncGenerator["RedisWindows"]:
        """Connect, and close in the end. Yield these windows."""
        await self.look()
        try:
            yield self
        finally:
            if self._sending is not None:
                self._sending.cancel()
                with suppress(asyncio.CancelledError):
                    await self._sending
            await self._redis.aclose()

    def _name(self, who: tuple[str, ...]) -> str:
        digest = hashlib.blake2b("\0".join(who).encode("utf-8", "surrogatepass"), key=self._secret, digest_size=20)
        return f"{{tertulia}}:{digest.hexdigest()}"  # in a cluster, all of them at one place

    async def _send(self) -> None:
        """Send what is wanted until nothing is; all have their answer then, or None."""
        try:
            while self._wanted:
                batch, self._wanted = self._wanted[:MOST], self._wanted[MOST:]
                try:
                    answers: Sequence[Sequence[int] | None] = await self._in_time([asked for asked, _ in batch])
                except _FAILURES as error:
                    answers = [None] * len(batch)
                    self._lose(error)
                _answer(batch, answers)
                if not self._answers:
                    break
        finally:
            self._sending = None
            left, self._wanted = self._wanted, []
            _answer(left, [None] * len(left))

    async def _in_time(self, asked: Sequence[tuple[str, int, int]]) -> Sequence[Sequence[int]]:
        """Have decisions made. Return them.

        Raises:
            TimeoutError: the Redis takes too long; if this process does, it reads first what has come.
        """
        deciding = asyncio.ensure_future(self._decide(asked))
        try:
            for _ in range(LOOKS):
                await asyncio.wait((deciding,), timeout=self._deadline_s / LOOKS)
                if deciding.done():
                    return deciding.result()
        finally:
            deciding.cancel()
        raise TimeoutError(f"no answer within {self._deadline_s * 1000:g} ms")

    async def _decide(self, asked: Sequence[tuple[str, int, int]]) -> Sequence[Sequence[int]]:
        names = [name for name, _, _ in asked]
        numbers = [number for _, *numbers in asked for number in numbers]
        try:
            told = await self._redis.execute_command("EVAL", DECIDE, len(names), *names, WINDOW_S * 1000, *numbers)
            decided = msgspec.convert(told, list[_Decision])
        except (ValueError, RecursionError) as error:  # the client's own reader raises them too
            raise InvalidResponse("the answer is none of a Redis that decides") from error
        if len(decided) != len(asked):
            raise InvalidResponse(f"{len(decided)} decisions of {len(asked)}")
        return decided

    def _lose(self, error: Exception) -> None:
        told, self._answers = self._answers, False
        if told is not False:
            reason = f"{type(error).__name__}: {error}"
            _log.warning("limits count in each process, for Redis does not answer", reason=reason)


def _answer(batch: Sequence[_Wanted], answers: Sequence[Sequence[int] | None]) -> None:
    for (_, decision), answer in zip(batch, answers, strict=True):
        if not decision.done():  # else its client has left
            decision.set_result(answer)
