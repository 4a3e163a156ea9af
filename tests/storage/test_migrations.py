"""The schema's history leads to the schema."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tertulia.storage import migrations
from tertulia.storage.database import dialect, full_text
from tertulia.storage.tables import metadata

pytestmark = pytest.mark.both_databases


def is_ours(name: str | None, kind: str, _parents: object) -> bool:
    """Return True unless a name is one of the full-text index of SQLite, which keeps tables of its own."""
    return kind != "table" or not str(name).startswith(full_text.INDEX)


@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
def test_a_new_database_gets_the_schema_of_the_tables(empty_database_url: str) -> None:
    engine = dialect.create_engine(empty_database_url, 1)
    migrations.upgrade(engine)
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "include_name": is_ours})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_an_upgrade_of_an_upgraded_database_changes_nothing(empty_database_url: str) -> None:
    engine = dialect.create_engine(empty_database_url, 1)
    migrations.upgrade(engine)
    migrations.upgrade(engine)
    engine.dispose()


def test_several_processes_that_upgrade_at_once_all_find_the_schema(empty_database_url: str) -> None:
    engines = [dialect.create_engine(empty_database_url, 1) for _ in range(4)]
    threads = [threading.Thread(target=migrations.upgrade, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for engine in engines:
        with engine.begin() as connection:
            assert "services" in connection.dialect.get_table_names(connection)
        engine.dispose()
