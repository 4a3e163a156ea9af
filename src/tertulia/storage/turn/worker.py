"""The processes that run turns, and the addresses at which they reach each other."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.storage.tables import workers


def register(connection: Connection, worker_id: str, address: str, expires_at: datetime) -> None:
    """Note the address of a worker, or that it still holds."""
    mine = workers.c.id == worker_id
    values = {"address": address, "expires_at": expires_at}
    if not connection.execute(sa.update(workers).where(mine).values(values)).rowcount:
        connection.execute(sa.insert(workers).values(id=worker_id, **values))


def unregister(connection: Connection, worker_id: str) -> None:
    """Forget a worker that has stopped."""
    connection.execute(sa.delete(workers).where(workers.c.id == worker_id))


def find_address(connection: Connection, worker_id: str) -> str | None:
    """Find a worker that lives. Return its `HOST:PORT`, or None."""
    query = sa.select(workers.c.address).where(workers.c.id == worker_id, workers.c.expires_at > clock.now())
    return connection.execute(query).scalar_one_or_none()


def purge_workers(connection: Connection, now: datetime) -> None:
    """Forget the workers that died."""
    connection.execute(sa.delete(workers).where(workers.c.expires_at <= now))
