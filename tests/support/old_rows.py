"""Rows of a database as an earlier version left it, for tests of migrations."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection


def insert(connection: Connection, table: sa.Table, **values: Any) -> None:
    """Insert a row; a value that is not given is 0, or empty."""
    needed = {column.name: plain(column) for column in table.columns if not column.nullable}
    connection.execute(sa.insert(table).values({**needed, **values}))


def plain(column: sa.Column[Any]) -> Any:
    return {int: 0, bool: False, bytes: b"", dict: {}}.get(column.type.python_type, "")
