"""What runs beside the requests goes on, whatever it meets."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tertulia.background import maintenance, sweeper
from tertulia.errors import Unavailable

pytestmark = pytest.mark.both_databases

PATIENCE_S = 10


class Database:
    """Fails as nobody foresaw, unless it is whole; then everything is under maintenance."""

    def __init__(self, *, whole: bool) -> None:
        self.whole = whole
        self.asked = asyncio.Event()

    async def read(self, _unit: Callable[..., Any], *_args: Any) -> bool:
        self.asked.set()
        await asyncio.sleep(0)
        if not self.whole:
            raise RuntimeError("nobody foresaw this")
        return True

    write = read

    async def is_asked(self) -> None:
        self.asked.clear()
        async with asyncio.timeout(PATIENCE_S):
            await self.asked.wait()


async def test_maintenance_is_watched_on_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "WATCH_S", 0)
    database: Any = Database(whole=False)
    watched = maintenance.Maintenance(database)
    watching = asyncio.create_task(watched.watch())
    await database.is_asked()
    watched.refuse()
    database.whole = True
    for _ in range(2):
        await database.is_asked()
    with pytest.raises(Unavailable):
        watched.refuse()
    watching.cancel()


async def test_a_cluster_that_cannot_be_swept_does_not_keep_the_others_from_it() -> None:
    broken, whole = Database(whole=False), Database(whole=True)
    clusters: list[Any] = [broken, whole]
    sweeping = asyncio.create_task(sweeper.sweep_forever(clusters, 3600))
    await whole.is_asked()
    assert broken.asked.is_set()
    sweeping.cancel()
