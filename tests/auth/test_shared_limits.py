"""Limits that processes share through a real Redis: exact while it answers, and nobody waits for it if it does not."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import structlog

from support import redis_server
from support.redis_server import RedisServer
from tertulia.auth import shared_limits
from tertulia.auth.limits import Allowance, Limiter, Windows
from tertulia.auth.shared_limits import RedisWindows

pytestmark = pytest.mark.skipif(redis_server.PROGRAM is None, reason="redis-server is not installed: see .ci/packages")

SECRET = b"s" * 32
DEADLINE_S = 0.05


@pytest.fixture(scope="module")
def running() -> Iterator[RedisServer]:
    with redis_server.running() as server:
        yield server


@pytest.fixture(autouse=True)
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The events that are logged here, whatever level a server in this process has set."""
    events: list[str] = []

    def note(_logger: object, _method: str, entry: Any) -> Any:
        events.append(entry["event"])
        raise structlog.DropEvent

    monkeypatch.setattr(
        shared_limits, "_log", structlog.wrap_logger(None, [note], structlog.make_filtering_bound_logger(0))
    )
    return events


SHARED, ALONE = "limits are shared through Redis", "limits count in each process, for Redis does not answer"


@asynccontextmanager
async def processes(server: RedisServer, number: int = 1, secret: bytes = SECRET) -> AsyncGenerator[list[Limiter]]:
    """Limiters as so many processes have them."""
    async with AsyncExitStack() as stack:
        shared = [RedisWindows(server.url, secret, DEADLINE_S) for _ in range(number)]
        for windows in shared:
            await stack.enter_async_context(windows.open())
        yield [Limiter(Windows(), windows) for windows in shared]


async def allowed(limiter: Limiter, operation: str, limit: int, times: int) -> int:
    """Ask so many times at once. Returns how many were allowed."""
    answers = await asyncio.gather(*(limiter.hit(operation, limit, "demo", "me") for _ in range(times)))
    return sum(answer is not None and not answer.retry_after for answer in answers)


async def test_a_limit_is_exact_whoever_counts_and_however_many_ask_at_once(running: RedisServer) -> None:
    async with processes(running, 4) as limiters:
        counts = await asyncio.gather(*(allowed(limiter, "exact", 300, 200) for limiter in limiters))
        allowance = await limiters[0].allowance("exact", 300, "demo", "me")

    assert sum(counts) == 300
    assert allowance is not None
    assert (allowance.remaining, allowance.retry_after in range(58, 61)) == (0, True)


async def test_a_standing_is_the_same_everywhere_and_the_window_does_not_move(running: RedisServer) -> None:
    async with processes(running, 2) as (one, other):
        first = await one.hit("standing", 5, "demo", "me")
        looked = await other.allowance("standing", 5, "demo", "me")
        second = await other.hit("standing", 5, "demo", "me")
        elsewhere = await other.hit("standing", 5, "demo", "somebody else")

    assert first is not None
    assert second is not None
    assert elsewhere is not None
    assert looked is not None
    assert [first.remaining, looked.remaining, second.remaining, elsewhere.remaining] == [4, 4, 3, 4]
    assert abs(second.reset_at - first.reset_at) <= 1
    assert 58 <= second.reset_at - time.time() <= 61


async def test_a_limit_that_is_lowered_meanwhile_holds_at_once(running: RedisServer) -> None:
    async with processes(running) as (limiter,):
        await allowed(limiter, "lowered", 100, 10)
        answer = await limiter.hit("lowered", 5, "demo", "me")

    assert answer is not None
    assert (answer.remaining, answer.retry_after > 0) == (0, True)


async def test_two_installations_on_one_redis_do_not_meet_and_no_name_tells_whose_it_is(running: RedisServer) -> None:
    async with processes(running) as (one,), processes(running, secret=b"t" * 32) as (other,):
        assert await allowed(one, "apart", 1, 1) == await allowed(other, "apart", 1, 1) == 1

    names = running.names()
    assert names
    assert not [name for name in names if b"apart" in name or b"demo" in name]


async def test_a_redis_that_hangs_is_waited_for_once_by_all_who_ask_and_by_nobody_later(
    running: RedisServer, lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[int] = []
    wait = RedisWindows._in_time

    async def watched(windows: RedisWindows, asked: Any) -> Any:
        waits.append(len(asked))
        return await wait(windows, asked)

    async with processes(running) as (limiter,):
        monkeypatch.setattr(RedisWindows, "_in_time", watched)
        with running.frozen():
            assert await allowed(limiter, "hangs", 10, 50) == 10
            assert await allowed(limiter, "hangs", 1000, 200) == 200

    assert waits == [50]
    assert lines == [SHARED, ALONE]


async def test_a_redis_that_is_gone_stops_nobody_and_its_return_is_noticed(lines: list[str]) -> None:
    with redis_server.running() as server:
        shared = RedisWindows(server.url, SECRET, DEADLINE_S)
        async with shared.open():
            limiter = Limiter(Windows(), shared)
            await allowed(limiter, "gone", 10, 4)
            server.stop()
            alone = [await limiter.hit("gone", 10, "demo", "me") for _ in range(3)]
            await shared.look()
            await shared.look()
            server.start()
            await shared.look()
            back = await limiter.hit("gone", 10, "demo", "me")

    assert [answer.remaining for answer in alone if answer is not None] == [5, 4, 3]  # this process's own are known
    assert back is not None
    assert back.remaining == 9  # the Redis that came back is an empty one
    assert lines == [SHARED, ALONE, SHARED]


async def test_a_redis_that_is_not_there_at_the_start_stops_nobody(lines: list[str]) -> None:
    with redis_server.running() as server:
        pass
    async with processes(server) as (limiter,):
        assert await allowed(limiter, "never", 2, 3) == 2

    assert lines == [ALONE]


async def test_a_connection_that_was_closed_while_idle_is_made_anew(running: RedisServer, lines: list[str]) -> None:
    async with processes(running) as (limiter,):
        await limiter.hit("idle", 5, "demo", "me")
        running.hang_up()
        answer = await limiter.hit("idle", 5, "demo", "me")

    assert answer is not None
    assert (answer.remaining, lines) == (3, [SHARED])


async def test_a_process_that_is_late_itself_does_not_blame_the_redis(running: RedisServer, lines: list[str]) -> None:
    async with processes(running) as (limiter,):
        asking = asyncio.create_task(limiter.hit("late", 5, "demo", "me"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        time.sleep(DEADLINE_S * 3)  # noqa: ASYNC251 - the loop is busy with something else
        answer = await asking

    assert answer is not None
    assert (answer.remaining, lines) == (4, [SHARED])


async def test_callers_who_leave_take_nobody_along(running: RedisServer) -> None:
    async with processes(running) as (limiter,):
        leaving = [asyncio.create_task(limiter.hit("leaves", 50, "demo", "me")) for _ in range(10)]
        staying = [asyncio.create_task(limiter.hit("leaves", 50, "demo", "me")) for _ in range(10)]
        await asyncio.sleep(0)
        for task in leaving:
            task.cancel()
        answers: list[Allowance | None] = await asyncio.gather(*staying)

    assert all(answer is not None and not answer.retry_after for answer in answers)


async def test_decisions_that_are_asked_for_at_once_leave_together(running: RedisServer) -> None:
    async with processes(running) as (limiter,):
        before = running.reads()
        await allowed(limiter, "together", 1000, 400)

    assert running.reads() - before < 40


async def test_a_redis_that_takes_nothing_in_is_left_alone_until_it_does(
    running: RedisServer, lines: list[str]
) -> None:
    shared = RedisWindows(running.url, SECRET, DEADLINE_S)
    async with shared.open():
        limiter = Limiter(Windows(), shared)
        await limiter.hit("full", 10, "demo", "me")
        with running.full():
            answers = [await limiter.hit("full", 10, "demo", "me") for _ in range(2)]
            await shared.look()
            await shared.look()
            assert lines == [SHARED, ALONE]
        await shared.look()

    assert [answer.remaining for answer in answers if answer is not None] == [8, 7]
    assert lines == [SHARED, ALONE, SHARED]


DECIDED = b"*1\r\n*3\r\n:1\r\n:4\r\n:60000\r\n"
LIES = (
    b"+OK\r\n",
    b":1\r\n",
    b":one\r\n",
    b"$-1\r\n",
    b"*0\r\n",
    b"*1\r\n:1\r\n",
    b"*1\r\n*1\r\n:1\r\n",
    b"*1\r\n*3\r\n:1\r\n:4\r\n:-1\r\n",
    b"*1\r\n*3\r\n:1\r\n:4\r\n:99999999999999999999\r\n",
    b"*2" + DECIDED[2:] + DECIDED[4:],
    b"*1\r\n" * 3000,
    b"-ERR \xff\r\n",
    b"-NOAUTH Authentication required.\r\n",
    b"!\r\n",
)
"""Answers that are no decision."""


@asynccontextmanager
async def something_else(answers: list[bytes]) -> AsyncGenerator[str]:
    """Listen as a Redis would, and give these answers to those who ask for decisions, then nothing. Yields its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while request := await reader.read(1 << 16):
            asked = b"EVAL" in request
            if asked and not answers:
                break
            writer.write(answers.pop(0) if asked else b"+OK\r\n" * request.count(b"SETINFO"))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


@pytest.mark.parametrize("lie", LIES, ids=range(len(LIES)))
async def test_what_answers_nonsense_stops_nobody(lie: bytes, lines: list[str]) -> None:
    async with something_else([DECIDED, DECIDED, lie, lie]) as url:
        shared = RedisWindows(url, SECRET, 1)
        async with shared.open(), asyncio.timeout(10):
            limiter = Limiter(Windows(), shared)
            answers = [await limiter.hit("lies", 5, "demo", "me") for _ in range(2)]
            await shared.look()

    assert [answer.remaining for answer in answers if answer is not None] == [4, 3]
    assert lines == [SHARED, ALONE]
