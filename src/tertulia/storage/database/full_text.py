"""The full-text index of messages: FTS5 on SQLite, GIN on PostgreSQL.

What is indexed are terms of letters and digits, which the caller has made of words: neither database parses a text. A
SQLite without FTS5 reads the terms row by row instead.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Select
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
    connection: Connection, query: Select[Any], number: Column[int], terms: Column[str], wanted: Sequence[str]
) -> Select[Any]:
    """Narrow a query of `message_searches` to rows that have all of some terms. Return it, the newest row first."""
    if connection.dialect.name == "postgresql":
        array = sa.func.string_to_array(terms, sa.literal_column("' '"))
        found = query.where(array.op("@>")(sa.cast(list(wanted), postgresql.ARRAY(sa.Text))))
        return found.order_by(number.desc())
    if connection.execute(_HAS_INDEX).scalar() is None:
        padded = " " + terms + " "
        return query.where(*(padded.contains(f" {term} ") for term in wanted)).order_by(number.desc())
    index = sa.func.message_index(" ".join(wanted)).table_valued("rowid", name=INDEX)
    return query.join(index, index.c.rowid == number).order_by(index.c.rowid.desc())
