"""Jobs of a server that runs."""

import time
from collections.abc import Callable
from typing import TypeVar

import sqlalchemy as sa

from support.server import Server
from tertulia.clock import EPOCH
from tertulia.storage.database import dialect
from tertulia.storage.tables import jobs

PATIENCE_S = 20.0

T = TypeVar("T")


def wait_until_done(server: Server) -> None:
    """Wait until a server has done all its jobs."""
    engine = dialect.create_engine(server.settings.cluster_urls["default"], 1)
    until = time.monotonic() + PATIENCE_S
    while _count(engine):
        assert time.monotonic() < until, "the jobs are not done"
        time.sleep(0.02)  # nothing tells another process when they are
    engine.dispose()


def make_due(server: Server) -> None:
    """Let the leases of all jobs end, as if their processes had died."""
    engine = dialect.create_engine(server.settings.cluster_urls["default"], 1)
    with engine.begin() as connection:
        dialect.begin_write(connection)
        connection.execute(sa.update(jobs).where(jobs.c.due_at.is_not(None)).values(due_at=EPOCH))
    engine.dispose()


def wait_for(found: Callable[[], T | None]) -> T:
    """Wait until something is found that jobs bring about. Return it."""
    until = time.monotonic() + PATIENCE_S
    while not (answer := found()):
        assert time.monotonic() < until, "it has not come about"
        time.sleep(0.02)
    return answer


def _count(engine: sa.Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(jobs)).scalar_one()


def is_dead(server: Server) -> bool:
    """Return True if a server has a dead job."""
    engine = dialect.create_engine(server.settings.cluster_urls["default"], 1)
    with engine.connect() as connection:
        found = connection.execute(sa.select(jobs.c.id).where(jobs.c.due_at.is_(None))).first()
    engine.dispose()
    return found is not None
