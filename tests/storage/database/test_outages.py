"""Databases that are locked, replaced, removed, frozen or restarted: an answer soon, and then all is well again."""

import os
import shutil
import signal
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import OperationalError

from support import postgres
from support.postgres import Postgres
from tertulia.errors import Unavailable
from tertulia.storage.database import dialect, units
from tertulia.storage.database.patience import PatientConnection
from tertulia.storage.database.units import Database, open_database


def count(connection: Connection) -> int:
    return connection.execute(sa.text("SELECT count(*) FROM notes")).scalar_one()


def note(connection: Connection) -> None:
    connection.execute(sa.text("INSERT INTO notes VALUES (1)"))


def make(path: Path, notes: int) -> Path:
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE notes (a)")
        made.executemany("INSERT INTO notes VALUES (?)", [(number,) for number in range(notes)])
        made.commit()
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return make(tmp_path / "notes.db", 3)


@pytest.fixture
def notes(path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{path}", 2)
    yield opened
    opened.close()


async def test_a_locked_file_is_an_answer_and_is_well_afterwards(
    notes: Database, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dialect, "BUSY_TIMEOUT_MS", 50)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable):
            await notes.write(note)
        assert await notes.read(count) == 3
        other.execute("ROLLBACK")
    await notes.write(note)
    assert await notes.read(count) == 4


async def test_a_replaced_file_is_the_one_that_is_used(notes: Database, path: Path, tmp_path: Path) -> None:
    await notes.write(note)
    assert await notes.read(count) == 4
    make(tmp_path / "backup.db", 10).replace(path)
    assert await notes.read(count) == 10
    await notes.write(note)
    with closing(sqlite3.connect(path)) as there:
        assert there.execute("SELECT count(*) FROM notes").fetchone() == (11,)


async def test_a_removed_file_takes_no_writes_and_none_is_made_in_its_place(
    notes: Database, path: Path, tmp_path: Path
) -> None:
    await notes.write(note)
    shutil.copy(path, tmp_path / "kept.db")
    for each in path.parent.glob("notes.db*"):
        each.unlink()
    for _ in range(2):
        with pytest.raises(Unavailable):
            await notes.write(note)
        with pytest.raises(Unavailable):
            await notes.read(count)
    assert not [name for name in os.listdir(tmp_path) if name.startswith("notes.db")]
    make(tmp_path / "backup.db", 5).replace(path)
    await notes.write(note)
    assert await notes.read(count) == 6


async def test_a_file_that_comes_back_is_well_with_all_that_was_acknowledged(
    notes: Database, path: Path, tmp_path: Path
) -> None:
    await notes.write(note)
    os.rename(path, tmp_path / "away")
    with pytest.raises(Unavailable):
        await notes.write(note)
    os.rename(tmp_path / "away", path)
    await notes.write(note)
    assert await notes.read(count) == 5


async def test_a_file_that_is_no_database_is_an_answer(notes: Database, path: Path, tmp_path: Path) -> None:
    await notes.write(note)
    nonsense = tmp_path / "nonsense"
    nonsense.write_bytes(b"nonsense" * 1000)
    nonsense.replace(path)
    with pytest.raises(Unavailable):
        await notes.read(count)
    with pytest.raises(Unavailable):
        await notes.write(note)
    make(tmp_path / "backup.db", 5).replace(path)
    assert await notes.read(count) == 5


async def test_the_files_of_a_database_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "new.db"
    before = os.umask(0)
    try:
        opened = open_database(f"sqlite:///{path}", 2)
        await opened.write(lambda it: it.execute(sa.text("CREATE TABLE notes (a)")))
        assert await opened.read(count) == 0
        made = {each.name: oct(each.stat().st_mode & 0o777) for each in path.parent.iterdir()}
        opened.close()
    finally:
        os.umask(before)
    assert made == {"new.db": "0o600", "new.db-wal": "0o600", "new.db-shm": "0o600"}
    assert path.parent.stat().st_mode & 0o777 == 0o700


# --- PostgreSQL ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own_server() -> Iterator[Postgres]:
    """A server that may be frozen and stopped."""
    with postgres.running() as server:
        yield server


@contextmanager
def frozen(server: Postgres) -> Generator[None]:
    leader = psutil.Process(server.pid)
    everyone = [leader, *leader.children(recursive=True)]
    for each in everyone:
        each.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for each in everyone:
            each.send_signal(signal.SIGCONT)


async def test_a_frozen_server_is_an_answer_and_is_well_afterwards(
    own_server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatientConnection, "patience_s", 0.5)
    monkeypatch.setitem(dialect.NETWORK, "connect_timeout", "2")
    monkeypatch.setattr(units, "QUEUE_S", 1)
    opened = open_database(own_server.create_empty(), 2)
    try:
        await opened.write(lambda it: it.execute(sa.text("CREATE TABLE notes (a int)")))
        await opened.write(note)
        with frozen(own_server):
            for _ in range(3):
                with pytest.raises(Unavailable):
                    await opened.write(note)
            with pytest.raises(Unavailable):
                await opened.read(count)
        assert await opened.read(count) == 1
        await opened.write(note)
        assert await opened.read(count) == 2
    finally:
        opened.close()


async def test_a_restarted_server_is_well_afterwards(own_server: Postgres) -> None:
    opened = open_database(own_server.create_empty(), 2)
    try:
        await opened.write(lambda it: it.execute(sa.text("CREATE TABLE notes (a int)")))
        own_server.stop()
        with pytest.raises(Unavailable):
            await opened.write(note)
        own_server.start()
        await opened.write(note)
        assert await opened.read(count) == 1
    finally:
        opened.close()


def test_a_migration_has_as_long_as_it_needs(own_server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PatientConnection, "patience_s", 0.3)
    engine = dialect.create_engine(own_server.create_empty(), 1)
    try:
        with engine.begin() as connection:
            dialect.lock_schema(connection)
            connection.execute(sa.text("SELECT pg_sleep(1)"))
        with engine.connect() as connection, pytest.raises(OperationalError):
            connection.execute(sa.text("SELECT pg_sleep(1)"))
    finally:
        engine.dispose()
