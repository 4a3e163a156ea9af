"""The places of a user: how one who asks for everything leaves room for the others."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from tertulia.auth.places import Places

GREEDY = ("demo", "greedy")


class Pool:
    """One worker who takes work in the order in which it comes, as the threads of a database do."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._lock = asyncio.Lock()

    async def work(self, name: str) -> None:
        async with self._lock:
            await asyncio.sleep(0)
            self.done.append(name)


async def ask(places: Places, pool: Pool, user: tuple[str, str]) -> None:
    async with places.place(user):
        await pool.work(user[1])


async def test_ten_users_are_not_starved_by_one_who_asks_for_two_hundred_things() -> None:
    places, pool = Places(4), Pool()
    greedy = [asyncio.create_task(ask(places, pool, GREEDY)) for _ in range(200)]
    await asyncio.sleep(0)
    plain = [asyncio.create_task(ask(places, pool, ("demo", f"user {number}"))) for number in range(10)]
    await asyncio.gather(*greedy, *plain)
    last = max(index for index, name in enumerate(pool.done) if name != "greedy")
    assert pool.done[: last + 1].count("greedy") <= 4 + 10  # those that had a place, and one after each that ended
    assert pool.done.count("greedy") == 200


async def test_requests_of_a_user_are_worked_on_in_their_order() -> None:
    places, order = Places(2), list[int]()

    async def one(number: int) -> None:
        async with places.place(GREEDY):
            order.append(number)
            await asyncio.sleep(0)

    await asyncio.gather(*(one(number) for number in range(20)))
    assert order == list(range(20))


@asynccontextmanager
async def held(places: Places) -> AsyncGenerator[None]:
    async with places.place(GREEDY):
        yield


async def test_who_gives_up_waiting_takes_no_place_along() -> None:
    places = Places(1)
    async with held(places):
        waiting = [asyncio.create_task(ask(places, Pool(), GREEDY)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
    waiting[1].cancel()  # the place has just been handed on to it
    await asyncio.wait(waiting)
    assert [task.cancelled() for task in waiting] == [True, True, False]
    async with asyncio.timeout(5), held(places):
        pass


async def test_a_place_is_given_back_after_a_failure() -> None:
    places = Places(1)
    for _ in range(3):
        with pytest.raises(RuntimeError):
            async with asyncio.timeout(5), held(places):
                raise RuntimeError
