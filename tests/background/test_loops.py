"""Loops beside the requests: they go on, whatever they meet, and it is known how they are."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from support.server import NO_CERTIFICATES, Serve
from tertulia import loops
from tertulia.background import maintenance
from tertulia.errors import Unavailable
from tertulia.loops import FAILURES, Loops

PATIENCE_S = 10


class Step:
    """A step that fails as it is told to, and counts."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.hangs = False
        self.done = asyncio.Event()

    async def __call__(self) -> None:
        self.done.set()
        if self.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error

    async def happens(self, times: int = 1) -> None:
        for _ in range(times):
            self.done.clear()
            async with asyncio.timeout(PATIENCE_S):
                await self.done.wait()


@pytest.mark.parametrize("error", [RuntimeError(), OSError(28, "full"), asyncio.CancelledError(), MemoryError()])
async def test_a_loop_goes_on_after_what_nobody_foresaw_and_says_when_it_is_not_well(error: BaseException) -> None:
    kept, step = Loops(), Step()
    step.error = error
    async with kept.keep("broom", step, 0):
        await step.happens(FAILURES + 1)
        assert kept.unwell() == ["broom"]
        step.error = None
        await step.happens(2)
        assert kept.unwell() == []
    assert kept.unwell() == []


async def test_a_loop_that_hangs_is_not_well_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "STEP_S", 0.01)
    kept, step = Loops(), Step()
    step.hangs = True
    async with kept.keep("broom", step, 0):
        await step.happens(FAILURES + 1)
        assert kept.unwell() == ["broom"]


async def test_a_loop_ends_with_its_block() -> None:
    step = Step()
    async with Loops().keep("broom", step, 3600):
        await step.happens()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "broom"]


class Database:
    """A database under maintenance, which may be out of reach."""

    whole = True

    async def read(self, _unit: Callable[..., Any]) -> bool:
        if not self.whole:
            raise RuntimeError("nobody foresaw this")
        return True


async def test_what_was_known_of_maintenance_holds_while_the_database_is_away() -> None:
    database: Any = Database()
    watched = maintenance.Maintenance(database)
    watched.refuse()
    await watched.look()
    database.whole = False
    with pytest.raises(RuntimeError):
        await watched.look()
    with pytest.raises(Unavailable):
        watched.refuse()


def test_a_server_whose_loop_fails_is_not_ready_until_it_is_well(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def readyz() -> httpx2.Response:
        return httpx2.get(f"{server.url}/readyz", trust_env=False, verify=NO_CERTIFICATES)

    broken = True

    async def look(_watched: maintenance.Maintenance) -> None:
        if broken:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("tertulia.runtime.WATCH_S", 0.01)
    monkeypatch.setattr(maintenance.Maintenance, "look", look)
    server = serve()
    while (answer := readyz()).status_code == 200:
        pass
    assert (answer.status_code, answer.json()["detail"]) == (503, "This is not well: maintenance.")
    broken = False
    while readyz().status_code != 200:
        pass
