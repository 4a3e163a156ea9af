"""The sweeper: frees conversations whose turn died with its process, once the lease has ended."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta

import structlog
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.background.erasing import erase_all
from tertulia.storage.database.units import Database
from tertulia.storage.turn import idempotency, stream, worker
from tertulia.storage.turn import sweep as leases

log = structlog.get_logger()


async def sweep_forever(databases: Iterable[Database], lease_s: float) -> None:
    """Sweep every cluster now, and again after each `lease_s` seconds, until cancelled."""
    clusters = list(databases)
    while True:
        for database in clusters:
            await sweep(database, lease_s)
        await asyncio.sleep(lease_s)


async def sweep(database: Database, lease_s: float) -> None:
    """Abandon the turns of a cluster whose lease has ended, and remove rows past their time. Log failures."""
    try:
        freed = await database.write(sweep_unit, timedelta(seconds=lease_s))
    except Exception as error:  # noqa: BLE001 - the next sweep may succeed, and the other clusters are not to suffer
        log.warning("sweep failed", reason=repr(error))
        return
    try:
        await _purge(database)
        await erase_all(database)
    except Exception as error:  # noqa: BLE001 - the next sweep goes on with what is left
        log.warning("purge failed", reason=repr(error))
    if freed:
        log.info("turns of dead processes abandoned", turns=freed)


async def _purge(database: Database) -> None:
    """Remove the streams that are past their time, a portion in each transaction."""
    while await database.write(stream.purge_streams, clock.now()):
        pass


def sweep_unit(connection: Connection, lease: timedelta) -> int:
    """Sweep a cluster. Return the number of turns that were abandoned."""
    now = clock.now()
    freed = leases.sweep(connection, now)
    leases.shorten(connection, now + lease)
    idempotency.purge_keys(connection, now)
    worker.purge_workers(connection, now)
    return freed
