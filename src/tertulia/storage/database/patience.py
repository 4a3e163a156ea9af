"""Connections to PostgreSQL that give up a server which does not answer, and know whether statements can be prepared.

Imported when the first is made.
"""

import select
import sys
import time
from typing import Any

import psycopg
from psycopg._preparing import PrepareManager  # it has no public door
from psycopg.abc import RV, PQGen
from psycopg.errors import _WaitTimeout  # pyright: ignore[reportPrivateUsage] - what `wait` says it raises
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

from tertulia.database_urls import POOLED

STATEMENT_S = 5.0
"""The longest time of a statement; migrations have as long as they need."""

IDLE_S = 1.0
"""A connection that was idle for so many seconds is tried before it is used."""


_ONLY_WHEN_ASKED = sys.maxsize
"""The threshold of psycopg's that prepares a statement only for a cursor that asks for it."""


class _LastingPlans(PrepareManager):
    """psycopg's memory of prepared statements, which forgets none: it would with each ROLLBACK, and they outlive that.

    One that a change of the schema has spoilt ends its connection: see `prepared.STALE_PLANS`.
    """

    def clear(self) -> bool:
        """Forget nothing. Return False."""
        return False


class PatientConnection(psycopg.Connection[Any]):
    """A connection that gives up a server which does not answer, as one does whose host is frozen."""

    patience_s: float | None = STATEMENT_S

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._prepared = _LastingPlans()

    def wait(self, gen: PQGen[RV], interval: float = 0.1, timeout: float | None = None) -> RV:
        """Wait as psycopg does. Raises OperationalError once patience is over."""
        try:
            return super().wait(gen, interval, self.patience_s if timeout is None else timeout)
        except _WaitTimeout as error:
            if timeout is not None:
                raise
            self.pgconn.finish()  # an answer that comes late must not be taken for the next one's
            raise psycopg.OperationalError(f"the server has not answered for {self.patience_s} seconds") from error


def connect(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> PatientConnection:
    """Make a connection for SQLAlchemy. Returns it.

    Statements can be prepared in it if it leads to the server itself. A pooler, which may give each transaction another
    connection in which nothing has been prepared, hides the process at the other end: cancellations go through it.
    """
    is_pooled = bool(options.pop(POOLED, False))
    connection = PatientConnection.connect(*arguments, autocommit=True, **options)
    (process,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (None,)
    is_direct = process == connection.info.backend_pid and not is_pooled
    connection.prepare_threshold = _ONLY_WHEN_ASKED if is_direct else None
    connection.autocommit = False
    return connection


def note_the_time(connection: PatientConnection | None, record: ConnectionPoolEntry) -> None:
    """Note since when a connection is idle."""
    if connection is not None:
        connection.patience_s = PatientConnection.patience_s  # a migration may have had more
    record.info["idle_since"] = time.monotonic()


def _try(connection: PatientConnection) -> None:
    """Have the server answer. Raises OperationalError if it does not."""
    is_committing, connection.autocommit = connection.autocommit, True
    connection.execute("SELECT 1")
    connection.autocommit = is_committing


def is_doubtful(connection: PatientConnection, used_at: float) -> bool:
    """Return whether a connection has to be tried before it is used.

    It was idle for long, or the server has sent what nobody asked for: mostly the notice of its end. `used_at` is the
    time of its last use (`time.monotonic()`).
    """
    if connection.closed or time.monotonic() - used_at > IDLE_S:
        return True
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


def see_that_it_lives(connection: PatientConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
    """Have the pool make new connections if this one is broken. SQLAlchemy's own way asks the server each time."""
    try:
        if is_doubtful(connection, record.info.get("idle_since", time.monotonic())):
            _try(connection)
    except psycopg.OperationalError as error:
        raise InvalidatePoolError from error
