"""Lists and the search of an organization of many users: the work is that of an organization of few.

Work is counted, not timed: steps of SQLite's machine, rows that PostgreSQL reads.
"""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from support.many_users import CALLS, Call, fill, finish
from tertulia.storage import user as users
from tertulia.storage import user_statistics
from tertulia.storage.database import dialect

pytestmark = pytest.mark.both_databases

SIZES = {"few": 200, "many": 2000}


@pytest.fixture(scope="module")
def filled(database_kind: str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    with ExitStack() as stack:
        if database_kind == "sqlite":  # in memory, where there is such a folder: the disk is not what is tried
            memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - for its speed
            folder = stack.enter_context(TemporaryDirectory(dir=memory))
            url = f"sqlite:///{shutil.copy(request.getfixturevalue('sqlite_template'), folder)}"
        else:
            url = request.getfixturevalue("database_url")
        engine = dialect.create_engine(url, 1)
        stack.callback(engine.dispose)
        with engine.begin() as connection:
            for org_id, count in SIZES.items():
                fill(connection, org_id, count)
            finish(connection)
        yield engine


# --- The work of a call ----------------------------------------------------------------------------------------------


def steps(connection: Connection, call: Call, org_id: str) -> int:
    """Count the steps of SQLite's machine, in tens."""
    counted = [0]

    def tick() -> int:
        counted[0] += 1
        return 0

    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(tick, 10)
    try:
        call(connection, org_id)
    finally:
        driver.set_progress_handler(None, 10)
    return counted[0]


def statements(connection: Connection, call: Call, org_id: str) -> list[tuple[str, Any]]:
    """Make a call. Returns its statements as the driver has them, with their parameters."""
    found: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_more: object) -> None:
        found.append((statement, parameters))

    event.listen(connection.engine, "before_cursor_execute", note)
    try:
        call(connection, org_id)
    finally:
        event.remove(connection.engine, "before_cursor_execute", note)
    return found


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def plans(connection: Connection, call: Call, org_id: str) -> list[dict[str, Any]]:
    """Have PostgreSQL explain the statements of a call by running them. Returns their plans.

    Tables are small here, so it reads whole ones wherever it may: it may not.
    """
    for way in ("seqscan", "hashjoin", "mergejoin", "bitmapscan"):
        connection.exec_driver_sql(f"SET enable_{way} = off")
    return [
        connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", values).scalar_one()[0]["Plan"]
        for text, values in statements(connection, call, org_id)
    ]


def work(connection: Connection, call: Call, org_id: str) -> int:
    if connection.dialect.name == "sqlite":
        return steps(connection, call, org_id)
    read = [node for plan in plans(connection, call, org_id) for node in nodes(plan) if "Relation Name" in node]
    return sum(
        int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in read
        if node["Relation Name"] != "roles"
    )


def scanned(connection: Connection, call: Call, org_id: str) -> list[str]:
    """The large tables that a call reads from the beginning to the end."""
    large = {"users", "conversations", "messages", "user_search", "user_statistics"}
    if connection.dialect.name == "postgresql":
        every = [node for plan in plans(connection, call, org_id) for node in nodes(plan)]
        return [
            node["Relation Name"]
            for node in every
            if node["Node Type"] == "Seq Scan" and node["Relation Name"] in large
        ]
    told = [
        row[3]
        for text, values in statements(connection, call, org_id)
        for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)
    ]
    return [line for line in told if line.startswith("SCAN") and line.split()[1] in large]


@pytest.mark.parametrize("name", CALLS)
def test_an_organization_of_many_users_costs_no_more_than_one_of_few(filled: Engine, name: str) -> None:
    call = CALLS[name]
    with filled.connect() as connection:
        call(connection, "few")  # what is compiled once
        few, many = (work(connection, call, org_id) for org_id in SIZES)

        assert many <= few * 1.5 + 12, (few, many)  # an index of many rows has a level or two more
        assert scanned(connection, call, "many") == []


def test_a_list_in_an_order_that_no_index_has_shows_that_the_measure_does(
    filled: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(user_statistics, "MOST_RECENT", 0)  # so that no list uses the indexes
    with filled.connect() as connection:
        few, many = (work(connection, CALLS["users by num_messages"], org_id) for org_id in SIZES)

    assert many > few * 3


def test_a_search_by_one_who_may_see_hardly_anybody_reads_each_entry_once(filled: Engine) -> None:
    """Many have the end of their address in common: the work grows with their number, not with its square."""
    hidden = users.COLUMNS_OF_THE_FEW["user_role_name"].in_(["Nobody's"])

    def call(connection: Connection, org_id: str) -> object:
        return users.search_users(connection, org_id, hidden, "x.io", None)

    with filled.connect() as connection:
        call(connection, "few")
        few, many = (work(connection, call, org_id) for org_id in SIZES)

    assert many < few * 15  # of ten times as many users
