"""The full-text index of messages: FTS5 on SQLite, GIN on PostgreSQL.

What is indexed are terms of letters and digits, which the caller has made of words: neither database parses a text. A
SQLite without FTS5 reads the terms row by row instead.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ColumnElement, Select
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

INDEX = "message_index"
"""The table of FTS5, which SQLite keeps in tables of its own whose names begin so."""

_CREATE = (
    "CREATE VIRTUAL TABLE message_index USING fts5("
    "terms, content='message_searches', content_rowid='number', tokenize='ascii', detail='none', columnsize=0)",
    "CREATE TRIGGER message_index_insert AFTER INSERT ON message_searches BEGIN"
    " INSERT INTO message_index(rowid, terms) VALUES (new.number, new.terms); END",
    "CREATE TRIGGER message_index_delete AFTER DELETE ON message_searches BEGIN"
    " INSERT INTO message_index(message_index, rowid, terms) VALUES ('delete', old.number, old.terms); END",
)
_HAS_FTS5 = "SELECT sqlite_compileoption_used('ENABLE_FTS5')"
_HAS_INDEX = sa.text("SELECT 1 FROM sqlite_master WHERE name = :name").bindparams(name=INDEX)


def create_index(connection: Connection) -> None:
    """Make the index of a SQLite database, if SQLite can. PostgreSQL's is one of its table."""
    if connection.dialect.name == "sqlite" and connection.exec_driver_sql(_HAS_FTS5).scalar():
        for statement in _CREATE:
            connection.exec_driver_sql(statement)


def newest_with_terms(
    connection: Connection,
    query: Select[Any],
    number: Column[int],
    terms: Column[str],
    wanted: Sequence[Sequence[str]],
    most: int,
) -> Select[Any]:
    """Narrow a query of `message_searches` to the newest `most` rows that have one of each of some terms.

    Return it, the newest row first. Older rows are out of reach whatever else narrows the query: a common word, and a
    filter that lets nothing through, would have every row of that word read.
    """
    has_all = _has_all(connection, terms, wanted)
    if has_all is not None:
        oldest = _oldest(sa.select(number).where(has_all), number, most)
        return query.where(has_all, number >= oldest).order_by(number.desc())
    sought = " AND ".join(f"({' OR '.join(terms)})" for terms in wanted)
    index, again = (
        sa.func.message_index(sought).table_valued("rowid", name=name) for name in (INDEX, f"{INDEX}_again")
    )
    oldest = _oldest(sa.select(again.c.rowid), again.c.rowid, most)
    return query.join(index, index.c.rowid == number).where(index.c.rowid >= oldest).order_by(index.c.rowid.desc())


def _oldest(matching: Select[Any], number: ColumnElement[int], most: int) -> ColumnElement[int]:
    """Write the number of the oldest row that is within reach. Return the SQL of it, 0 if all rows are."""
    return sa.func.coalesce(matching.order_by(number.desc()).offset(most - 1).limit(1).scalar_subquery(), 0)


def _has_all(connection: Connection, terms: Column[str], wanted: Sequence[Sequence[str]]) -> ColumnElement[bool] | None:
    """Write that a row has one of each of some terms. Return it, or None where FTS5 knows them."""
    if connection.dialect.name == "postgresql":
        array = sa.func.string_to_array(terms, sa.literal_column("' '"))
        return sa.and_(*(array.op("&&")(sa.cast(list(some), postgresql.ARRAY(sa.Text))) for some in wanted))
    if connection.execute(_HAS_INDEX).scalar() is None:
        padded = " " + terms + " "
        return sa.and_(*(sa.or_(*(padded.contains(f" {term} ") for term in some)) for some in wanted))
    return None
