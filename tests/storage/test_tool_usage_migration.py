"""The code of tools that is there before 0028 counts for its organization afterwards."""

import pytest
import sqlalchemy as sa
from alembic import command

from support.old_rows import insert
from tertulia.storage import migrations
from tertulia.storage.database import dialect
from tertulia.storage.tables import organization_usage

pytestmark = pytest.mark.both_databases


def test_code_that_is_there_counts_for_its_organization(empty_database_url: str) -> None:
    engine = dialect.create_engine(empty_database_url, 1)
    with engine.begin() as connection:
        dialect.begin_write(connection)
        command.upgrade(migrations._config(connection), "0027")
        tables = sa.MetaData()
        tables.reflect(connection)
        for org_id, held in (("one", 7), ("other", 0)):
            insert(connection, tables.tables["organization_usage"], org_id=org_id, shard=0, stored_bytes=held)
            insert(connection, tables.tables["organization_usage"], org_id=org_id, shard=1)
        insert(connection, tables.tables["tools"], id="tool", org_id="one", name="a", tags={})
        for digest, body in (("a", b"x" * 100), ("b", b"x" * 20)):
            insert(connection, tables.tables["tool_snapshots"], org_id="one", tool_id="tool", digest=digest, body=body)
    with engine.begin() as connection:
        dialect.begin_write(connection)
        command.upgrade(migrations._config(connection), "head")

    query = sa.select(organization_usage.c.org_id, sa.func.sum(organization_usage.c.stored_bytes)).group_by(
        organization_usage.c.org_id
    )
    with engine.connect() as connection:
        found = {row[0]: int(row[1]) for row in connection.execute(query)}
    engine.dispose()
    assert found == {"one": 127, "other": 0}
