"""The order of users by their statistics: indexes are told of turns after them, a portion at a time."""

import asyncio
import time

from tertulia.storage.database.units import Database
from tertulia.storage.user_statistics import catch_up, find_behind

LOOK_S = 5.0
"""The time between two looks, in seconds. Lists do not wait for it: they take who has changed from their rows."""

LIMIT_S = 3600.0
"""The longest time of a step, in seconds: the first one after a standstill has much to read."""

SHARE = 0.05
"""The share of its time that a process does this: turns go first."""


async def order_users(database: Database) -> None:
    """Bring the order of a cluster's users up to date, as far as no turn can change it any more."""
    while True:
        began = time.monotonic()
        behind = await database.read(find_behind)
        if not behind.user_ids or not await database.write(catch_up, behind):
            return
        await asyncio.sleep((time.monotonic() - began) * (1 / SHARE - 1))
