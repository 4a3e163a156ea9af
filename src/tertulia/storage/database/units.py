"""A storage cluster: units of work, each a plain function over a connection, run whole in one hop off the event loop.

`read` and `write` give a unit its connection; the only commit of the product is here. On SQLite one thread writes and
lets the units that wait share a commit, a savepoint each; on PostgreSQL each unit is a transaction on a pooled
connection.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import structlog
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DatabaseError, DBAPIError, InterfaceError, InternalError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from tertulia.errors import Unavailable
from tertulia.storage.database import dialect
from tertulia.storage.database.file import DatabaseFile
from tertulia.storage.database.prepared import execute_directly
from tertulia.storage.database.shortcut import Shortcut
from tertulia.storage.database.waiting import Waiting, deliver, take

log = structlog.get_logger()

P = ParamSpec("P")
T = TypeVar("T")
Unit = Callable[Concatenate[Connection, P], T]

QUEUE_S = 5.0
"""The longest time for which a unit waits for a connection to PostgreSQL."""

SHARED_COMMIT = 64
"""The most waiting units that share a commit."""


class Database(Protocol):
    """A storage cluster."""

    engine: Engine

    async def read(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a unit that only reads. Return its result.

        Each statement sees what is committed when the statement begins: on PostgreSQL, the next one may see more. (On
        SQLite all see the same.) So that no transaction costs the hot path two messages, a unit whose statements have
        to agree runs in `read_snapshot`.
        """
        ...

    async def read_snapshot(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a unit that only reads, all of whose statements see what is committed when the first begins.

        Return its result.
        """
        ...

    async def write(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a unit and commit its work. Return its result once the work is durable; an error undoes the work.

        On PostgreSQL each statement sees what is committed when the statement begins, and what the unit has locked
        stays as it is.
        """
        ...

    async def write_lazily(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a unit and commit its work without waiting for the disk. Return its result.

        A failure of power, and nothing else, may take the work back. Use this for work that nobody has been promised,
        such as the claim of a turn: without its claim, a turn has not happened.
        """
        ...

    async def do(self, shortcut: Shortcut[T], /) -> T:
        """Do what a shortcut's unit does, as `write` would. Return its result once the work is durable."""
        ...

    async def do_lazily(self, shortcut: Shortcut[T], /) -> T:
        """Do what a shortcut's unit does, as `write_lazily` would. Return its result."""
        ...

    def close(self) -> None:
        """Finish the units that have begun, then release threads and connections."""
        ...


def open_database(url: str, pool_size: int) -> Database:
    """Open the cluster at a `sqlite:///...` or `postgresql://...` URL. Return it."""
    engine = dialect.create_engine(url, pool_size)
    return SqliteDatabase(engine, pool_size) if dialect.is_sqlite(url) else PostgresDatabase(engine, pool_size)


_OUT_OF_REACH = frozenset({DatabaseError, InternalError, OperationalError})
"""Errors of a database that is away, locked, broken, or no database. Their other subclasses are a statement's."""


@contextmanager
def reported() -> Generator[None]:
    """Turn the errors of a database out of reach into one for the caller, and write their reason to the log.

    Raises:
        Unavailable: the database cannot be reached.
    """
    try:
        yield
    except (DatabaseError, InterfaceError, PoolTimeoutError) as error:
        if isinstance(error, DatabaseError) and type(error) not in _OUT_OF_REACH:
            raise
        log.error("database unavailable", reason=str(error.orig if isinstance(error, DBAPIError) else error))
        raise Unavailable("The database cannot be reached.") from error


class PostgresDatabase:
    """A cluster on PostgreSQL: units run on a pool of threads, with a connection each."""

    def __init__(self, engine: Engine, threads: int) -> None:
        self.engine = engine
        self._direct = engine.execution_options(isolation_level="AUTOCOMMIT")
        """The engine without transactions of SQLAlchemy's: they are begun and ended here, by one message each."""
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="postgres")
        from tertulia.storage.database.lane import Lane  # noqa: PLC0415 - only PostgreSQL needs psycopg

        self._durable_lane = Lane(engine, reported, durable=True)
        self._lazy_lane = Lane(engine, reported, durable=False)

    async def read(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        def query() -> T:
            with reported(), self._direct.connect() as connection:
                return unit(connection, *args, **kwargs)

        return await self._run(query)

    async def read_snapshot(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(lambda: self._transact(dialect.BEGIN_SNAPSHOT, lambda it: unit(it, *args, **kwargs)))

    async def write(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(lambda: self._transact(dialect.BEGIN, lambda it: unit(it, *args, **kwargs)))

    async def write_lazily(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(lambda: self._transact(dialect.BEGIN_LAZILY, lambda it: unit(it, *args, **kwargs)))

    async def do(self, shortcut: Shortcut[T], /) -> T:
        row = await self._durable_lane.ask(shortcut)
        return shortcut.read(*row) if row is not None else await self.write(shortcut.unit)

    async def do_lazily(self, shortcut: Shortcut[T], /) -> T:
        row = await self._lazy_lane.ask(shortcut)
        return shortcut.read(*row) if row is not None else await self.write_lazily(shortcut.unit)

    def _transact(self, begin: str, unit: Callable[[Connection], T]) -> T:
        with reported(), self._direct.connect() as connection:
            execute_directly(connection, begin)
            result = unit(connection)  # an error ends the transaction: a connection that is given back forgets it
            ended = execute_directly(connection, "COMMIT")
            if ended.statusmessage != "COMMIT":  # a transaction that has failed is undone, without an error
                raise RuntimeError("a unit has gone on after a statement of it had failed")
            return result

    async def _run(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        submitted = self._threads.submit(work)
        is_late = False

        def give_up() -> None:
            nonlocal is_late
            is_late = submitted.cancel()  # False once a thread has begun

        patience = loop.call_later(QUEUE_S, give_up)
        try:
            return await asyncio.wrap_future(submitted, loop=loop)
        except asyncio.CancelledError:
            if not is_late:
                raise
            log.error("database unavailable", reason="no connection was free in time")
            raise Unavailable("The database cannot be reached.", retry_after=2) from None
        finally:
            patience.cancel()

    def close(self) -> None:
        self._durable_lane.close()
        self._lazy_lane.close()
        self._threads.shutdown()
        self.engine.dispose()


class SqliteDatabase:
    """A cluster on SQLite: one thread writes, a few read."""

    def __init__(self, engine: Engine, readers: int) -> None:
        self.engine = engine
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="sqlite-read")
        self._writer = _Writer(engine)
        self._file = self._writer.file

    async def read(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        def transaction() -> T:
            with reported(), self._file.in_use(), self.engine.connect() as connection:
                connection.exec_driver_sql("BEGIN")
                return unit(connection, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._readers, transaction)

    async def read_snapshot(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self.read(unit, *args, **kwargs)

    async def write(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._write(lambda connection: unit(connection, *args, **kwargs), durable=True)

    async def write_lazily(self, unit: Unit[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._write(lambda connection: unit(connection, *args, **kwargs), durable=False)

    async def do(self, shortcut: Shortcut[T], /) -> T:
        return await self.write(shortcut.unit)

    async def do_lazily(self, shortcut: Shortcut[T], /) -> T:
        return await self.write_lazily(shortcut.unit)

    async def _write(self, unit: Callable[[Connection], T], *, durable: bool) -> T:
        job = _Job(unit, asyncio.get_running_loop(), durable=durable)
        self._writer.submit(job)
        return await job.future

    def close(self) -> None:
        self._writer.close()
        self._readers.shutdown()
        self.engine.dispose()


class _Job(Waiting):
    """A unit that waits for the writer."""

    __slots__ = ("durable", "unit")

    def __init__(self, unit: Callable[[Connection], Any], loop: asyncio.AbstractEventLoop, *, durable: bool) -> None:
        super().__init__(loop)
        self.durable = durable
        self.unit = unit


class _Writer:
    """The thread that writes to SQLite."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._connection: Connection | None = None
        self._durable = True
        self._knows_logs = False
        self.file = DatabaseFile(engine, self._forget_connection)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="sqlite-write", daemon=True)
        self._thread.start()

    def submit(self, job: _Job) -> None:
        if self._closed:
            raise RuntimeError("the database is closed")
        self._jobs.put(job)

    def close(self) -> None:
        self._closed = True
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        open_ = True
        while open_:
            jobs, open_ = take(self._jobs, SHARED_COMMIT)
            if jobs:
                self._commit_together(jobs)
                deliver(jobs)
        self._disconnect()

    def _commit_together(self, jobs: list[_Job]) -> None:
        try:
            with reported(), self.file.in_use():
                connection = self._connected()
                self._set_durable(connection, durable=any(job.durable for job in jobs))
                dialect.begin_write(connection)
                if len(jobs) == 1:
                    jobs[0].outcome = (jobs[0].unit(connection), None)
                else:
                    for job in jobs:
                        _run_in_savepoint(connection, job)
                execute_directly(connection, "COMMIT")
                if not self._knows_logs:  # they stay the same while a connection is open
                    self.file.note_logs()
                    self._knows_logs = True
        except BaseException as error:  # noqa: BLE001 - a thread has no other place to report to
            self._roll_back()
            for job in jobs:
                job.outcome = (None, job.outcome[1] or error)

    def _roll_back(self) -> None:
        """Undo what is open; if that fails, begin anew with another connection."""
        try:
            if self._connection is not None:
                execute_directly(self._connection, "ROLLBACK")
        except SQLAlchemyError:
            self._disconnect()

    def _forget_connection(self) -> Connection | None:
        connection, self._connection = self._connection, None
        self._durable = True  # as connections begin
        self._knows_logs = False
        return connection

    def _connected(self) -> Connection:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _set_durable(self, connection: Connection, *, durable: bool) -> None:
        if durable is not self._durable:
            dialect.set_durable(connection, durable=durable)
            self._durable = durable

    def _disconnect(self) -> None:
        """Undo what is open, and begin anew next time."""
        connection = self._forget_connection()
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.invalidate()
            connection.close()


def _run_in_savepoint(connection: Connection, job: _Job) -> None:
    execute_directly(connection, "SAVEPOINT unit")
    try:
        with reported():
            job.outcome = (job.unit(connection), None)
    except Exception as error:  # noqa: BLE001 - the caller's, to whom it is given
        job.outcome = (None, error)
        execute_directly(connection, "ROLLBACK TO unit")
    execute_directly(connection, "RELEASE unit")
