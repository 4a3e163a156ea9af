"""The sweeper: frees conversations whose turn died with its process, once the lease has ended."""

import asyncio
from collections.abc import Iterable
from datetime import timedelta

import structlog
from sqlalchemy.engine import Connection

from tertulia import clock
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
    if freed:
        log.info("turns of dead processes abandoned", turns=freed)


def sweep_unit(connection: Connection, lease: timedelta) -> int:
    """Sweep a cluster. Return the number of turns that were abandoned."""
    now = clock.now()
    freed = leases.sweep(connection, now)
    leases.shorten(connection, now + lease)
    stream.purge_streams(connection, now)
    idempotency.purge_keys(connection, now)
    worker.purge_workers(connection, now)
    return freed
