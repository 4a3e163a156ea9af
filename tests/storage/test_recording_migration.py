"""Recordings of the versions before 0005, which stored them whole, and the bytes that users and organizations hold."""

import secrets
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from alembic import command
from sqlalchemy.engine import Connection, Engine

from support.old_rows import insert
from tertulia.storage import migrations, recording
from tertulia.storage.database import dialect
from tertulia.storage.tables import organization_usage, recording_parts, recordings, users
from tertulia.storage.turn.parts import PART_BYTES

pytestmark = pytest.mark.both_databases

BODIES = {"1" * 24: secrets.token_bytes(PART_BYTES * 3 + 7), "2" * 24: b"short", "3" * 24: b""}
CONTENT = "Grüße"


@pytest.fixture
def old(empty_database_url: str) -> Iterator[Engine]:
    """A database of revision 0004, with a user who has spoken."""
    engine = dialect.create_engine(empty_database_url, 1)
    with engine.begin() as connection:
        dialect.begin_write(connection)
        command.upgrade(migrations._config(connection), "0004")
    with engine.begin() as connection:
        dialect.begin_write(connection)
        fill(connection)
    yield engine
    engine.dispose()


def fill(connection: Connection) -> None:
    tables = sa.MetaData()
    tables.reflect(connection)
    insert(connection, tables.tables["organizations"], org_id="demo")
    insert(connection, tables.tables["roles"], id="role", org_id="demo")
    for user_id in ("speaker", "silent"):
        insert(connection, tables.tables["users"], id=user_id, org_id="demo", role_id="role", email=user_id)
    talk = {"org_id": "demo", "conversation_id": "talk"}
    insert(connection, tables.tables["conversations"], id="talk", org_id="demo", user_id="speaker")
    insert(connection, tables.tables["messages"], id="message", content=CONTENT, **talk)
    for message_id, body in BODIES.items():
        insert(connection, tables.tables["recordings"], message_id=message_id, body=body, **talk)


def test_old_recordings_are_split_one_by_one_and_stay_as_they_were(old: Engine) -> None:
    migrations.upgrade(old)
    steps = 0
    with old.connect() as connection:
        while True:
            with connection.begin():
                dialect.begin_write(connection)
                if not recording.split_next(connection):
                    break
            steps += 1
        found = connection.execute(sa.select(recordings.c.message_id, recordings.c.size, recordings.c.body)).all()
        assert {row.message_id: row.size for row in found} == {name: len(body) for name, body in BODIES.items()}
        assert {row.body for row in found} == {b""}
        sizes = connection.execute(sa.select(sa.func.length(recording_parts.c.body))).scalars().all()
        assert max(sizes) == PART_BYTES
        for name, body in BODIES.items():
            assert not body or recording.read_range(connection, name, 0, len(body) - 1) == body
    assert steps == len(BODIES)


def test_the_bytes_that_are_there_are_counted(old: Engine) -> None:
    migrations.upgrade(old)
    with old.connect() as connection:
        stored = {row.id: row.stored_bytes for row in connection.execute(sa.select(users.c.id, users.c.stored_bytes))}
        total = connection.execute(sa.select(sa.func.sum(organization_usage.c.stored_bytes))).scalar_one()
    spoken = len(CONTENT.encode()) + sum(map(len, BODIES.values()))
    assert stored == {"speaker": spoken, "silent": 0}
    assert total == spoken
