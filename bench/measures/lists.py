"""Lists of users and conversations, and the search for users: an organization of 100,000 users beside one of 1,000."""

import statistics
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.engine import Connection, Engine

from bench.figures import PRODUCT, Bound, Figure, Section
from bench.setting import Setting
from support import many_users, postgres
from support.many_users import CALLS
from tertulia.storage import migrations
from tertulia.storage.database import dialect

MOST_GROWTH = 1.5
SIZES = {"few": 1_000, "many": 100_000}
ROUNDS = 15
WHILE_FILLING_KIB = 400_000
"""The pages that SQLite keeps while its indexes are written in no order."""

_TEXT = (
    "One organization of 1,000 users and one of 100,000 in one database, each user with a conversation; units of "
    "storage alone, as the API calls them, by turns in one process. Each figure is the ratio of the medians of the "
    f"CPU times of {ROUNDS} calls, PostgreSQL's own among them; a page has 100 users or conversations, and 20 users "
    "have spoken since the indexes of statistics were brought up to date. Plans are looked at by the tests "
    "(`tests/storage/test_many_users.py`)."
)


def measure(setting: Setting) -> Section:
    figures = [figure for name, engine in _databases(setting) for figure in _compared(name, engine)]
    return Section("Lists of many users", figures, _TEXT)


def _databases(setting: Setting) -> Iterator[tuple[str, Engine]]:
    with _filled(f"sqlite:///{setting.folder / 'lists.db'}") as engine:
        yield "SQLite", engine
    with (
        postgres.running("127.0.0.1", str(setting.folder.parent)) as server,
        _filled(server.create_empty()) as engine,
    ):
        yield "PostgreSQL", engine


@contextmanager
def _filled(url: str) -> Generator[Engine]:
    _fill(dialect.create_engine(url, 1))
    engine = dialect.create_engine(url, 1)
    try:
        yield engine
    finally:
        engine.dispose()


def _fill(engine: Engine) -> None:
    migrations.upgrade(engine)
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            connection.exec_driver_sql(f"PRAGMA cache_size = -{WHILE_FILLING_KIB}")
    for org_id, count in SIZES.items():
        with engine.begin() as connection:
            dialect.begin_write(connection)
            many_users.fill(connection, org_id, count)
    with engine.begin() as connection:
        many_users.finish(connection)
    engine.dispose()


def _compared(database: str, engine: Engine) -> Iterator[Figure]:
    with engine.connect() as connection:
        for name, call in CALLS.items():
            ratio = _ratio(connection, call)
            bound = Bound(ratio, MOST_GROWTH, "at most")
            yield Figure(f"{name}, {database}", "", {PRODUCT: ratio}, bound=bound)


def _ratio(connection: Connection, call: Callable[[Connection, str], object]) -> float:
    now = _clock_of(connection)
    times: dict[str, list[float]] = {org_id: [] for org_id in SIZES}
    for _ in range(ROUNDS + 1):
        for org_id, taken in times.items():
            began = now()
            call(connection, org_id)
            taken.append(now() - began)
        connection.rollback()
    few, many = (statistics.median(taken[1:]) for taken in times.values())
    return many / few


def _clock_of(connection: Connection) -> Callable[[], float]:
    """Find the clock of a connection's work: CPU time of this thread, and of PostgreSQL's process. Return it."""
    if connection.dialect.name != "postgresql":
        return time.thread_time
    driver: Any = connection.connection.driver_connection
    backend = (~driver.info.backend_pid << 3) | 2  # clock_getcpuclockid(3), which Python does not have
    return lambda: time.thread_time() + time.clock_gettime(backend)
