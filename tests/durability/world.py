"""A database with a service, and two workers that run units of storage on it, at a time that a test sets."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.engine import Connection, Engine

from tertulia import clock
from tertulia.auth import roles
from tertulia.demo import organization as demo
from tertulia.storage.database import dialect

LEASE = timedelta(seconds=30)
REPLAY = timedelta(seconds=300)
START = datetime(2030, 1, 1, tzinfo=clock.EPOCH.tzinfo)


@dataclass
class World:
    """A database with a service, two connections to it, and the time."""

    engine: Engine
    workers: tuple[Connection, Connection]
    org_id: str
    service_id: str
    role_id: str
    now: datetime = START

    def run(self, worker: int, unit: Callable[..., Any], *args: Any) -> Any:
        """A unit in a transaction of its own, as `Database.write` runs it."""
        connection = self.workers[worker]
        with connection.begin():
            dialect.begin_write(connection)
            return unit(connection, *args)


@contextmanager
def opened(url: str) -> Generator[World]:
    engine = dialect.create_engine(url, 4)
    with engine.connect() as first, engine.connect() as second:
        with first.begin():
            dialect.begin_write(first)
            made = demo.bootstrap(first)
            role_id = roles.insert_builtin(first, made.organization_id)[roles.USER]
        yield World(engine, (first, second), made.organization_id, made.service_id, role_id)
    engine.dispose()
