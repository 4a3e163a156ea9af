"""A thread with a connection to PostgreSQL of its own, for shortcuts: those that wait share a message and a commit.

The statements of a batch go out together (libpq's pipeline mode) and are one transaction, which ends at the pipeline's
end: a pooler that gives each transaction another connection sees an ordinary one. If one of them fails, nothing of the
batch has happened, and each shortcut is tried alone; one that fails alone, or has a value that cannot be sent, is left
to its unit. Imported when the first database of PostgreSQL is opened.
"""

import asyncio
import queue
import select
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import zip_longest
from typing import Any, NamedTuple

import psycopg
import structlog
from psycopg import abc, pq
from psycopg.adapt import PyFormat, Transformer
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from tertulia.storage.database.patience import STATEMENT_S, PatientConnection, is_doubtful
from tertulia.storage.database.prepared import STALE_PLANS
from tertulia.storage.database.shortcut import Numbered, Shortcut
from tertulia.storage.database.waiting import Waiting, deliver, take

SHARED_COMMIT = 64
"""The most shortcuts that share a commit."""

LOCK_MS = 100
"""The longest wait for a row that another transaction has locked: a unit on a connection of its own can wait longer."""

ALONE_S = 0.2
"""The time for which shortcuts that have failed together are tried each by itself, in seconds."""

_SETTINGS = "SELECT set_config('lock_timeout', '{lock_ms}', true)"
_LAZILY = ", set_config('synchronous_commit', 'off', true)"

_ONE_PLAN = "SET plan_cache_mode TO force_generic_plan"
"""Rows are found by keys, whatever these are; by itself, the server plans anew what some values make cheaper."""

_log = structlog.get_logger(__name__)

Values = list[Any]
MOST_PLANS = 100
"""The most plans that the server keeps for a connection: some types of parameters depend on the values."""

_FAILURE = (pq.DiagnosticField.MESSAGE_PRIMARY, pq.DiagnosticField.SQLSTATE)
_FAILED = frozenset({pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.PIPELINE_ABORTED, pq.ExecStatus.BAD_RESPONSE})


class _Message(NamedTuple):
    """A statement with its parameters as the server takes them."""

    sql: bytes
    values: Sequence[abc.Buffer | None]
    transformer: abc.Transformer


class _Plans:
    """Statements whose plans the server keeps for a connection: to plan one takes ten times as long as to carry it out.

    The server knows a statement by a name; the types of the parameters, such as NULL's, are part of what it knows.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._names: dict[tuple[bytes, Sequence[int]], bytes] = {}
        self.are_stale = False
        """True if the server cannot use one of them any more, as after a change of the schema."""

    def send(self, server: pq.abc.PGconn, message: _Message) -> bool:
        """Send a statement. Return True if the server is to keep its plan from now on, and answers to that first."""
        sql, values, transformer = message
        key = (sql, transformer.types or ())
        name = self._names.get(key)
        is_new = name is None and len(self._names) < self._most
        if is_new:
            self._count += 1
            name = self._names[key] = b"lane-%d" % self._count
            server.send_prepare(name, sql, transformer.types)
        if name is None:
            server.send_query_params(sql, values, transformer.types, transformer.formats)
        else:
            server.send_query_prepared(name, values, transformer.formats)
        return is_new

    def read(self, server: pq.abc.PGconn, message: _Message) -> None:
        """Read the answer to a new plan; one that cannot be made, or comes after a failure, is not kept."""
        result = _next_result(server)
        if result is None or self.has_failed(result):
            del self._names[(message.sql, message.transformer.types or ())]
        _next_result(server)  # None: the end of the answer

    def has_failed(self, result: pq.abc.PGresult) -> bool:
        """Return True for an answer that tells a failure, and note one of a plan that was kept."""
        if result.status == pq.ExecStatus.FATAL_ERROR:
            reason, state = (result.error_field(field) or b"" for field in _FAILURE)
            _log.info("a shortcut failed", reason=reason.decode(errors="replace"))
            self.are_stale = self.are_stale or state.decode() in STALE_PLANS
        return result.status in _FAILED


class _Job(Waiting):
    """A shortcut that waits. Its outcome is the row of its first statement; None if that has done nothing."""

    __slots__ = ("messages", "shortcut", "statement")

    def __init__(self, shortcut: Shortcut[Any], loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self.shortcut = shortcut

    def prepare(self, connection: PatientConnection) -> bool:
        """Make the messages. Return False if a value cannot be sent: that is the shortcut's trouble, and no other's."""
        try:
            steps = self.shortcut.steps()
            self.statement: Numbered = steps[0][0]
            self.messages = [
                _message(connection, statement.sql, statement.compiled.bound(parameters))
                for statement, parameters in steps
            ]
        except Exception as error:  # noqa: BLE001 - the unit meets the same, and tells its caller
            _log.info("a shortcut failed", reason=type(error).__name__)
            return False
        return True


class Lane:
    """The thread. `reported` turns errors of a database out of reach into those of the product."""

    def __init__(self, engine: Engine, reported: Callable[[], AbstractContextManager[None]], *, durable: bool) -> None:
        self._engine = engine
        self._reported = reported
        self._name = f"postgres-{'durable' if durable else 'lazy'}"
        self._settings = (_SETTINGS.format(lock_ms=LOCK_MS) + ("" if durable else _LAZILY)).encode()
        self._connection: PatientConnection | None = None
        self._plans = _Plans(0)
        self._used_at = 0.0
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def ask(self, shortcut: Shortcut[Any]) -> Values | None:
        """Run the statements of a shortcut. Return the first one's row; None if they have done nothing.

        Raises:
            Unavailable: the database cannot be reached.
        """
        if self._closed:
            raise RuntimeError("the database is closed")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        job = _Job(shortcut, asyncio.get_running_loop())
        self._jobs.put(job)
        return await job.future

    def close(self) -> None:
        """Finish what waits, and let the connection go."""
        self._closed = True
        self._jobs.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        open_ = True
        while open_:
            jobs, open_ = take(self._jobs, SHARED_COMMIT)
            if jobs:
                self._do(jobs)
                deliver(jobs)
        self._disconnect()

    def _do(self, jobs: list[_Job]) -> None:
        try:
            with self._reported(), _as_sqlalchemy_has_them():
                connection = self._connected()
                ready = [job for job in jobs if job.prepare(connection)]
                ready.sort(key=lambda job: job.shortcut.lock)
                if ready and not self._commit(connection, ready):
                    self._try_alone(ready)
        except BaseException as error:  # noqa: BLE001 - a thread has no other place to report to
            self._disconnect()
            for job in jobs:
                if job.outcome == (None, None):
                    job.outcome = (None, error)

    def _try_alone(self, jobs: Sequence[_Job]) -> None:
        """Run each of some shortcuts that have failed together; if a plan was to blame, with plans made anew.

        What is left after some time, as when they wait for a row that is locked, is left to the units, which do not
        keep the lane from others.
        """
        were_stale = self._forget_stale_plans()
        if len(jobs) == 1 and not were_stale:
            return
        until = time.monotonic() + ALONE_S
        for job in jobs:
            if time.monotonic() > until:
                return
            connection = self._connected()
            if not were_stale or job.prepare(connection):
                self._commit(connection, [job])
                self._forget_stale_plans()

    def _forget_stale_plans(self) -> bool:
        """Let the connection go if it has a plan that cannot be used any more. Return True if it had."""
        if not self._plans.are_stale:
            return False
        self._disconnect()
        return True

    def _commit(self, connection: PatientConnection, jobs: Sequence[_Job]) -> bool:
        """Run shortcuts in one transaction. Return False if one of them has failed, and so all are undone."""
        rounds = zip_longest(*(job.messages for job in jobs))
        ordered = [message for round_ in rounds for message in round_ if message is not None]
        rows = _exchange(connection, self._plans, [_message(connection, self._settings), *ordered])
        self._used_at = time.monotonic()
        if rows is None:
            return False
        for job, row in zip(jobs, rows[1:], strict=False):
            job.outcome = (None if row is None else job.statement.compiled.values(row), None)
        return True

    def _connected(self) -> PatientConnection:
        """Return a connection that answers."""
        if self._connection is not None and is_doubtful(self._connection, self._used_at):
            try:
                self._connection.execute("SELECT 1")
            except psycopg.OperationalError:
                self._disconnect()
        if self._connection is not None:
            return self._connection
        pooled = self._engine.raw_connection()
        driver: Any = pooled.driver_connection
        pooled.detach()
        driver.autocommit = True
        self._connection = connection = driver
        keeps_plans = connection.prepare_threshold is not None
        if keeps_plans:
            connection.execute(_ONE_PLAN)
        self._plans = _Plans(MOST_PLANS if keeps_plans else 0)
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                connection.close()


@contextmanager
def _as_sqlalchemy_has_them() -> Generator[None]:
    """Turn errors of the driver into SQLAlchemy's."""
    try:
        yield
    except psycopg.Error as error:
        raise DBAPIError.instance(None, None, error, psycopg.Error) from error


def _message(connection: PatientConnection, sql: bytes, parameters: Sequence[Any] = ()) -> _Message:
    transformer: abc.Transformer = Transformer.from_context(connection)
    values = transformer.dump_sequence(parameters, [PyFormat.AUTO] * len(parameters))
    return _Message(sql, values, transformer)


def _exchange(
    connection: PatientConnection, plans: _Plans, messages: Sequence[_Message]
) -> list[Sequence[Any] | None] | None:
    """Run statements in one transaction, sent together. Return the first row of each; None if one has failed.

    Raises:
        psycopg.OperationalError: the server is gone, or does not answer.
    """
    server = connection.pgconn
    server.nonblocking = 1
    server.enter_pipeline_mode()
    sent = [(message, plans.send(server, message)) for message in messages]
    server.pipeline_sync()
    _flush(server)
    rows: list[tuple[bool, Sequence[Any] | None]] = []
    for message, is_new in sent:
        if is_new:
            plans.read(server, message)
        rows.append(_first_row(server, plans, message.transformer))
    is_committed = _is_committed(server, plans)
    server.exit_pipeline_mode()
    server.nonblocking = 0
    return [row for _, row in rows] if is_committed and all(fine for fine, _ in rows) else None


def _first_row(server: pq.abc.PGconn, plans: _Plans, transformer: abc.Transformer) -> tuple[bool, Sequence[Any] | None]:
    """Read the answer to a statement. Return False if it has failed, and its first row."""
    result = _next_result(server)
    if result is None:
        raise psycopg.OperationalError("the server has lost its place")
    row: Sequence[Any] | None = None
    if result.status == pq.ExecStatus.TUPLES_OK and result.ntuples:
        transformer.set_pgresult(result)
        row = transformer.load_row(0, tuple)
    _next_result(server)  # None: the end of the statement's answer
    return not plans.has_failed(result), row


def _is_committed(server: pq.abc.PGconn, plans: _Plans) -> bool:
    """Read the answer to the end of the transaction. Return False if its commit has failed."""
    is_committed = True
    while (result := _next_result(server)) is None or result.status != pq.ExecStatus.PIPELINE_SYNC:
        is_committed = is_committed and (result is None or not plans.has_failed(result))
    return is_committed


def _next_result(server: pq.abc.PGconn) -> pq.abc.PGresult | None:
    while server.is_busy():
        _wait(server, select.POLLIN)
        server.consume_input()
    result = server.get_result()
    if server.status == pq.ConnStatus.BAD:
        raise psycopg.OperationalError(server.get_error_message())
    return result


def _flush(server: pq.abc.PGconn) -> None:
    """Send what is to be sent, and take in what comes meanwhile, or both sides could wait for each other."""
    while server.flush():
        if _wait(server, select.POLLIN | select.POLLOUT) & select.POLLIN:
            server.consume_input()


def _wait(server: pq.abc.PGconn, events: int) -> int:
    poll = select.poll()
    poll.register(server.socket, events)
    ready = poll.poll(STATEMENT_S * 1000)
    if not ready:
        raise psycopg.OperationalError(f"the server has not answered for {STATEMENT_S} seconds")
    return ready[0][1]
