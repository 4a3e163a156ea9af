"""Units of work: the state that a read sees, and a PostgreSQL that refuses or has vanished."""

import asyncio
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import SQLAlchemyError

from support.postgres import Postgres
from tertulia.errors import Unavailable
from tertulia.storage import organization
from tertulia.storage.database import dialect, units
from tertulia.storage.database.units import Database, open_database
from tertulia.storage.tables import organizations


async def test_all_statements_of_a_snapshot_see_the_same_state(database: Database, database_url: str) -> None:
    elsewhere = dialect.create_engine(database_url, 1)

    def count(connection: Connection) -> int:
        return connection.execute(sa.select(sa.func.count()).select_from(organizations)).scalar_one()

    def count_around_a_commit(connection: Connection) -> tuple[int, int]:
        before = count(connection)
        with elsewhere.begin() as other:
            organization.insert_organization(other, "newcomer", "Newcomer")
        return before, count(connection)

    assert await database.read_snapshot(count_around_a_commit) == (0, 0)
    assert await database.read(count) == 1
    elsewhere.dispose()


pytestmark = pytest.mark.both_databases


async def test_a_server_that_only_reads_is_unavailable_for_writes(postgres_server: Postgres) -> None:
    database = open_database(postgres_server.create(), 1)

    def write(connection: Connection) -> None:
        connection.execute(sa.text("SET TRANSACTION READ ONLY"))  # as a standby does, by itself
        connection.execute(sa.text("DELETE FROM maintenance"))

    with pytest.raises(Unavailable):
        await database.write(write)
    database.close()


async def test_a_unit_that_hides_a_failed_statement_is_not_taken_for_committed(postgres_server: Postgres) -> None:
    database = open_database(postgres_server.create(), 1)

    def go_on(connection: Connection) -> None:
        with suppress(SQLAlchemyError):
            connection.execute(sa.text("SELECT 1 / 0"))

    with pytest.raises(RuntimeError, match="gone on"):
        await database.write(go_on)
    database.close()


def test_a_vanished_host_is_given_up_soon_and_the_url_has_the_last_word() -> None:
    query = dialect.create_engine("postgresql://u:p@host/name?connect_timeout=3&sslmode=require", 1).url.query
    assert (query["connect_timeout"], query["sslmode"]) == ("3", "require")
    assert int(str(query["tcp_user_timeout"])) <= 30_000


async def test_a_unit_that_finds_no_connection_is_unavailable_to_a_task_that_was_cancelled_before(
    postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "QUEUE_S", 0.05)
    database = open_database(postgres_server.create(), 1)
    busy, held = threading.Event(), threading.Event()

    def hold(_connection: Connection) -> None:
        busy.set()
        held.wait()

    async def undo() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with pytest.raises(Unavailable):
                await database.write(lambda _: None)

    holding = asyncio.create_task(database.write(hold))
    await asyncio.to_thread(busy.wait)
    undoing = asyncio.create_task(undo())
    await asyncio.sleep(0)
    undoing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await undoing
    held.set()
    await holding
    database.close()


async def test_of_many_connections_the_one_that_was_used_last_is_used_again(postgres_server: Postgres) -> None:
    """A connection that has not been idle costs no message that tries it."""
    database = open_database(postgres_server.create(), 3)
    all_open = threading.Barrier(3, timeout=10)

    def server_process(connection: Connection) -> int:
        return connection.execute(sa.text("SELECT pg_backend_pid()")).scalar_one()

    def server_process_beside_others(connection: Connection) -> int:
        all_open.wait()
        return server_process(connection)

    opened = await asyncio.gather(*(database.read(server_process_beside_others) for _ in range(3)))
    one_by_one = [await database.read(server_process) for _ in range(6)]

    assert len(set(opened)) == 3
    assert len(set(one_by_one)) == 1
    database.close()


async def test_a_file_that_cannot_be_looked_at_is_unavailable(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    database = open_database(f"sqlite:///{folder / 'test.db'}", 2)
    await database.read(lambda connection: connection.execute(sa.text("SELECT 1")).scalar_one())
    folder.rename(tmp_path / "moved")
    folder.write_text("")

    with pytest.raises(Unavailable):
        await database.read(lambda _: None)
    with pytest.raises(Unavailable):
        await database.write(lambda _: None)
    database.close()
