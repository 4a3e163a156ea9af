"""The plans that PostgreSQL keeps for a connection: those of the hot path, where no pooler stands between."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from support import pgbouncer
from support.postgres import Postgres
from tertulia.database_urls import normalize
from tertulia.errors import NotFound, Unavailable
from tertulia.storage.database import dialect, patience
from tertulia.storage.database.prepared import PreparedSelect
from tertulia.storage.database.shortcut import Numbered, Shortcut
from tertulia.storage.database.units import Database, open_database

pytestmark = pytest.mark.anyio

_PLANS = "SELECT count(*) FROM pg_prepared_statements"
_NOTES = sa.table("notes", sa.column("id", sa.Integer), sa.column("text", sa.Text))
_READ = sa.select(_NOTES.c.text).where(_NOTES.c.id == sa.bindparam("id", type_=sa.Integer))
_HOT = PreparedSelect(str, _READ)
_AT_ONCE = Numbered(_READ)
_COUNT = Numbered(sa.select(sa.literal_column("(SELECT count(*) FROM pg_prepared_statements)").label("number")))


@pytest.fixture
def database(postgres_server: Postgres) -> Iterator[Database]:
    opened = open_database(postgres_server.create_empty(), 1)
    with opened.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE notes (id integer PRIMARY KEY, text text)")
        connection.exec_driver_sql("INSERT INTO notes VALUES (1, 'one'), (2, 'two')")
    yield opened
    opened.close()


def read(connection: Connection, number: int) -> str | None:
    return _HOT.first(connection, {"id": number})


def fail(connection: Connection) -> None:
    read(connection, 1)
    raise NotFound("There is no such note.")


def count(connection: Connection) -> int:
    return int(connection.exec_driver_sql(_PLANS).scalar_one())


def change(database: Database, statement: str) -> None:
    """Change the schema as another process does."""
    other = dialect.create_engine(database.engine.url.render_as_string(hide_password=False), 1)
    with other.begin() as connection:
        connection.exec_driver_sql(statement)
    other.dispose()


def at_once(statement: Numbered, **parameters: Any) -> Shortcut[Any]:
    """A shortcut of one statement; if that is left to the unit, its answer is None."""
    return Shortcut(lambda _connection: None, lambda: [(statement, parameters)], lambda value: value)


async def test_a_statement_of_the_hot_path_is_planned_once(database: Database) -> None:
    assert [await database.read(read, number) for number in (1, 2, 3, 1)] == ["one", "two", None, "one"]
    assert await database.read(count) == 1


async def test_plans_outlive_a_pause_and_a_unit_that_fails(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "IDLE_S", 0)  # each connection is tried before it is used
    assert [await database.write(read, number) for number in (1, 2)] == ["one", "two"]
    with pytest.raises(NotFound):
        await database.write(fail)
    assert await database.read(count) == 1
    assert await database.do(at_once(_AT_ONCE, id=1)) == "one"
    assert await database.do(at_once(_AT_ONCE, id=2)) == "two"


async def test_a_url_can_say_that_a_pooler_stands_between(database: Database) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    pooled = open_database(normalize(f"{url}&pgbouncer=true"), 1)
    assert [await pooled.read(read, number) for number in (1, 2)] == ["one", "two"]
    assert await pooled.read(count) == 0
    assert await pooled.do(at_once(_AT_ONCE, id=1)) == "one"
    assert await pooled.do(at_once(_COUNT)) == 0
    pooled.close()


async def test_a_plan_that_is_spoilt_costs_those_that_wait_together_nothing(database: Database) -> None:
    asked = [at_once(_AT_ONCE, id=number) for number in (1, 2)]
    assert [*await asyncio.gather(*map(database.do, asked))] == ["one", "two"]
    change(database, "ALTER TABLE notes ALTER COLUMN text TYPE varchar(10)")
    assert [*await asyncio.gather(*map(database.do, asked))] == ["one", "two"]


async def test_other_statements_are_planned_for_their_values(database: Database) -> None:
    for number in range(20):
        await database.read(lambda connection, id_: connection.execute(_READ, {"id": id_}).first(), number)
    assert await database.read(count) == 0


async def test_shortcuts_are_planned_once_for_each_kind_of_their_values(database: Database) -> None:
    values = (1, 2, None, 1, 100_000)
    found = [await database.do(at_once(_AT_ONCE, id=value)) for value in values]
    assert found == ["one", "two", None, "one", None]
    await database.do(at_once(_COUNT))
    known = await database.do(at_once(_COUNT))
    assert known == 1 + 3 + 1  # the settings, one number of each size or none, and the count


async def test_a_plan_that_a_change_of_the_schema_has_spoilt_is_made_anew(database: Database) -> None:
    assert await database.do(at_once(_AT_ONCE, id=1)) == "one"
    change(database, "ALTER TABLE notes ALTER COLUMN text TYPE varchar(10)")
    assert await database.do(at_once(_AT_ONCE, id=1)) == "one"


async def test_a_plan_of_a_unit_that_is_spoilt_is_an_answer_once(database: Database) -> None:
    for _ in range(3):
        assert await database.read(read, 1) == "one"
    change(database, "ALTER TABLE notes ALTER COLUMN text TYPE varchar(10)")
    with pytest.raises(Unavailable):
        await database.read(read, 1)
    assert await database.read(read, 1) == "one"


async def test_a_statement_that_fails_is_not_taken_for_planned(database: Database) -> None:
    change(database, "ALTER TABLE notes RENAME TO papers")
    assert await database.do(at_once(_AT_ONCE, id=1)) is None
    change(database, "ALTER TABLE papers RENAME TO notes")
    assert await database.do(at_once(_AT_ONCE, id=1)) == "one"


@pytest.mark.skipif(pgbouncer.PROGRAM is None, reason="pgbouncer is not installed: see .ci/packages")
async def test_behind_a_pooler_nothing_is_kept(database: Database, postgres_server: Postgres) -> None:
    name = database.engine.url.database
    with pgbouncer.running(postgres_server, 2) as url:
        pooled = open_database(f"{url}/{name}", 1)
        assert [await pooled.read(read, number) for number in (1, 2, 1)] == ["one", "two", "one"]
        assert await pooled.read(count) == 0
        assert await pooled.do(at_once(_AT_ONCE, id=1)) == "one"
        assert await pooled.do(at_once(_COUNT)) == 0
        pooled.close()
