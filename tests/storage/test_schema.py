"""The schema serves what is asked of it."""

import pytest
import sqlalchemy as sa

from tertulia.storage.database import dialect

pytestmark = pytest.mark.both_databases


def test_every_foreign_key_has_an_index(database_url: str) -> None:
    engine = dialect.create_engine(database_url, 1)
    inspector = sa.inspect(engine)
    found, bare = 0, []
    for table in inspector.get_table_names():
        keys = [index["column_names"] for index in inspector.get_indexes(table)]
        keys += [unique["column_names"] for unique in inspector.get_unique_constraints(table)]
        keys.append(inspector.get_pk_constraint(table)["constrained_columns"])
        for foreign in inspector.get_foreign_keys(table):
            columns = foreign["constrained_columns"]
            found += 1
            if not any(key[: len(columns)] == columns for key in keys):
                bare.append((table, columns))
    engine.dispose()

    assert found >= 11
    assert bare == []
