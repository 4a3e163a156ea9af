"""The differences between SQLite and PostgreSQL; no other file knows them."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection, Dialect, Engine
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from tertulia import clock
from tertulia.database_urls import POOLED
from tertulia.storage.database.prepared import execute_directly

BUSY_TIMEOUT_MS = 5000
"""The time that a SQLite writer waits for another process's write, in milliseconds."""

NETWORK = {
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}
"""The patience with a PostgreSQL host that has vanished, unless its URL says otherwise. TCP alone takes minutes."""

BEGIN = "BEGIN"
"""The beginning of a transaction of PostgreSQL."""

BEGIN_LAZILY = "BEGIN; SET LOCAL synchronous_commit TO off"
"""The beginning of a transaction whose commit returns before the disk has it."""

BEGIN_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
"""The beginning of a transaction whose statements all see the same."""

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
"""A JSON document: text on SQLite, JSONB on PostgreSQL."""


class Timestamp(TypeDecorator[datetime]):
    """An aware UTC datetime, stored as microseconds since the epoch: exact, and in order, on both databases."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else clock.to_microseconds(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else clock.from_microseconds(value)


class JsonKind(FunctionElement[str]):
    """The kind of the value under a key of a JSON object: `'null'` for null, SQL NULL if the key is absent."""

    inherit_cache = True
    type = sa.String()


class JsonText(FunctionElement[str]):
    """The text under a key of a JSON object."""

    inherit_cache = True
    type = sa.String()


class LinesFound(FunctionElement[int]):
    """The number of lines of a text that stand somewhere in a column.

    SQLite's own `instr` compares byte by byte, and takes ten times as long.
    """

    inherit_cache = True
    type = sa.Integer()


class Unindexed(FunctionElement[str]):
    """A column that no index is to be chosen for, where a condition on another one finds fewer rows.

    SQLite without statistics takes every value of an index for rare; PostgreSQL counts them, and chooses well.
    """

    inherit_cache = True
    type = sa.Text()


_FORMS = {
    (JsonKind, "sqlite"): "json_type({column}, '$.' || json_quote({key}))",
    (JsonKind, "postgresql"): "jsonb_typeof({column} -> CAST({key} AS TEXT))",
    (JsonText, "sqlite"): "json_extract({column}, '$.' || json_quote({key}))",
    (JsonText, "postgresql"): "({column} ->> CAST({key} AS TEXT))",
    (LinesFound, "sqlite"): "lines_found({column}, {key})",
    (LinesFound, "postgresql"): (
        "(SELECT count(*) FROM unnest(string_to_array(CAST({key} AS TEXT), chr(10))) AS line"
        " WHERE strpos({column}, line) > 0)"
    ),
}


def _compiler(form: str) -> Callable[..., str]:
    def compiled(element: FunctionElement[str], compiler: SQLCompiler, **kw: Any) -> str:
        column, key = (compiler.process(clause, **kw) for clause in element.clauses)
        return form.format(column=column, key=key)

    return compiled


@compiles(Unindexed)
def _compile_unindexed(element: Unindexed, compiler: SQLCompiler, **kw: Any) -> str:
    return compiler.process(element.clauses, **kw)


@compiles(Unindexed, "sqlite")
def _compile_unindexed_on_sqlite(element: Unindexed, compiler: SQLCompiler, **kw: Any) -> str:
    return "+" + compiler.process(element.clauses, **kw)


for (_function, _dialect), _form in _FORMS.items():
    compiles(_function, _dialect)(_compiler(_form))


def is_sqlite(url: str) -> bool:
    """Return whether a URL is one of SQLite."""
    return sa.make_url(url).get_backend_name() == "sqlite"


def create_engine(url: str, pool_size: int) -> Engine:
    """Make an engine for a `sqlite:///...` or `postgresql://...` URL. Return it, set up for short durable writes."""
    # Parameters are what people said, and secrets: no error shows them.
    common = {"json_serializer": _dumps, "json_deserializer": msgspec.json.decode, "hide_parameters": True}
    if is_sqlite(url):
        return _sqlite_engine(url, pool_size, common)
    parsed = sa.make_url(url).set(drivername="postgresql+psycopg")
    query = dict(parsed.query)
    pooled = {} if query.pop(POOLED, None) is None else {POOLED: True}  # `patience.connect` takes it
    parsed = parsed.set(query={**NETWORK, **query})
    engine = sa.create_engine(
        parsed,
        pool_size=pool_size,
        max_overflow=0,
        pool_use_lifo=True,  # the one that was used last need not be tried first: see `patience.IDLE_S`
        connect_args=pooled,
        **common,
    )
    from tertulia.storage.database import patience  # noqa: PLC0415 - only PostgreSQL needs psycopg

    event.listen(engine, "do_connect", patience.connect)
    event.listen(engine, "checkin", patience.note_the_time)
    event.listen(engine, "checkout", patience.see_that_it_lives)
    return engine


def begin_write(connection: Connection) -> None:
    """Take SQLite's write lock now: a transaction that reads first can fail when it writes, for no fault of its own."""
    if connection.dialect.name == "sqlite":
        execute_directly(connection, "BEGIN IMMEDIATE")


def set_durable(connection: Connection, *, durable: bool) -> None:
    """Have SQLite's commits, from now on, wait until the disk has them, or not.

    The connection has to be outside a transaction.
    """
    execute_directly(connection, f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")


def lock_schema(connection: Connection) -> None:
    """Let one process at a time change the schema, or do other work of an installation that happens once."""
    if connection.dialect.name == "postgresql":
        driver: Any = connection.connection.driver_connection
        driver.patience_s = None  # another process may be at it for long, and so may this one
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7305806193)")


def _sqlite_engine(url: str, pool_size: int, common: dict[str, Any]) -> Engine:
    path = sa.make_url(url).database
    if path and path != ":memory:":
        Path(path).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make_private(Path(path))
    # One connection for the writer, the others for readers.
    engine = sa.create_engine(
        url,
        pool_size=pool_size + 1,
        max_overflow=0,
        poolclass=sa.QueuePool,
        connect_args={"check_same_thread": False, "isolation_level": None, "cached_statements": 256},
        **common,
    )
    event.listen(engine, "connect", _set_up_sqlite)
    return engine


def _make_private(path: Path) -> None:
    """Make a database's files, or those that are there, readable for their owner alone."""
    path.touch(mode=0o600)
    for each in (path, *path.parent.glob(f"{path.name}-*")):
        with suppress(OSError):  # somebody else's, who shares it
            each.chmod(0o600)


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
    ):
        _execute_patiently(connection, f"PRAGMA {pragma}")
    connection.create_function("lines_found", 2, _count_lines_found, deterministic=True)


def _count_lines_found(text: str, lines: str) -> int:
    """Count the lines that stand in a text. Return the count; the lock of the interpreter is free between two rows."""
    return sum(line in text for line in lines.split("\n"))


def _execute_patiently(connection: sqlite3.Connection, sql: str) -> None:
    """Try again while another connection changes the journal's mode: SQLite's own timeout does not wait for that."""
    latest = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute(sql)
        except sqlite3.OperationalError:
            if time.monotonic() >= latest:
                raise
            time.sleep(0.01)
        else:
            return


def _dumps(value: object) -> str:
    return msgspec.json.encode(value).decode()
