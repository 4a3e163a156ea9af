"""Rows as values: a frozen dataclass for each row that leaves storage, made beside its query.

A row's class names the columns that are selected for it, so its values arrive in the order of its fields:

    _AGENT = sa.select(*columns(Agent, agents)).where(...)
    find_row(connection, _AGENT, Agent)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, Table
from sqlalchemy.engine import Connection

T = TypeVar("T")


def columns(row: type, table: Table, **others: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """List a column for each field of a row's class. Return the field's entry in `others`, or the table's own column.

    Raises:
        KeyError: a field has neither.
    """
    return [
        others[field.name].label(field.name) if field.name in others else table.c[field.name] for field in fields(row)
    ]


def row_of(value: Any) -> dict[str, Any]:
    """Return the fields of a row's value by their names: not copied, as `asdict` does."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def find_row(
    connection: Connection, query: Select[Any], row: Callable[..., T], parameters: Mapping[str, Any] | None = None
) -> T | None:
    """Run a query. Return its first row as a value, or None."""
    found = connection.execute(query, parameters).first()
    return None if found is None else row(*found)


def list_rows(
    connection: Connection, query: Select[Any], row: Callable[..., T], parameters: Mapping[str, Any] | None = None
) -> Sequence[T]:
    """Run a query. Return all its rows as values."""
    return [row(*found) for found in connection.execute(query, parameters).all()]
