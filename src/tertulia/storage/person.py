"""A person's data: every table that has some, to be exported, counted and erased.

The tables stand here once. What a person, as an administrator, has made for the organization stays there, and names
nobody after an erasure.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, ColumnElement, Table
from sqlalchemy.engine import Connection

from tertulia.storage import tables
from tertulia.storage.database.shapes import among
from tertulia.storage.insights import unpack_insights
from tertulia.storage.tables import conversations, metadata

PORTION = 200
"""Rows that are read at once, at most."""

PORTION_CHARACTERS = 1 << 18
"""Characters of rows that are read at once, unless one row has more."""


@dataclass(frozen=True, slots=True)
class PersonTable:
    """A table with data of persons: the key of its rows, and the column that leads to the person.

    `hidden` columns are not exported: they find things, or belong to the server. `packed` ones are stored in a short
    form, and exported as their functions restore them.
    """

    table: Table
    key: str
    leads: str
    hidden: tuple[str, ...] = ()
    packed: Mapping[str, Callable[[Any], Any]] = field(default_factory=dict[str, Callable[[Any], Any]])

    @property
    def shown(self) -> list[Column[Any]]:
        """The columns that are exported."""
        return [column for column in self.table.columns if column.name not in self.hidden]


PARTS: Sequence[PersonTable] = (
    PersonTable(tables.users, "id", "id", ("search_text", "sensitive_variables")),
    PersonTable(tables.temporary_grants, "id", "user_id"),
    PersonTable(
        conversations,
        "id",
        "user_id",
        ("lease_token", "lease_owner", "lease_interaction_id", "lease_expires_at", "post_processing_error"),
    ),
    PersonTable(tables.interactions, "id", "conversation_id", packed={"insights": unpack_insights}),
    PersonTable(tables.messages, "id", "conversation_id"),
    PersonTable(tables.recordings, "message_id", "conversation_id", ("body",)),
    PersonTable(tables.behavior_invocations, "id", "user_id"),
    PersonTable(tables.results, "conversation_id", "conversation_id"),
    PersonTable(tables.tool_invocations, "id", "user_id", ("call_key",)),
    PersonTable(tables.memories, "id", "user_id"),
    PersonTable(tables.user_models, "id", "user_id"),
    PersonTable(tables.feedback, "id", "user_id"),
    PersonTable(tables.identities, "id", "user_id"),
    PersonTable(tables.shares, "id", "user_id", ("token_hash",)),
    PersonTable(tables.traces, "interaction_id", "user_id", ("body",)),
)
"""The tables that are exported, in their order."""

_UNEXPORTED: Sequence[tuple[Table, str]] = (
    (tables.conversation_tags, "conversation_id"),
    (tables.streams, "conversation_id"),
    (tables.memory_words, "user_id"),
    (tables.memory_vectors, "user_id"),
    (tables.idempotency_keys, "user_id"),
    (tables.mail_tokens, "user_id"),
    (tables.user_search, "user_id"),
    (tables.user_statistics, "user_id"),
)
"""The tables besides, whose rows repeat what the others have, or find it."""


def _whose(table: Table, leads: str, org_id: str, user_id: str) -> ColumnElement[bool]:
    if leads != "conversation_id":
        return sa.and_(table.c.org_id == org_id, table.c[leads] == user_id)
    theirs = sa.select(conversations.c.id).where(conversations.c.org_id == org_id, conversations.c.user_id == user_id)
    return sa.and_(table.c.org_id == org_id, table.c.conversation_id.in_(theirs))


def count_rows(connection: Connection, org_id: str, user_id: str) -> dict[str, int]:
    """Count what there is of a person. Return the rows by the names of tables, and the bytes of sound."""
    parts = [*((part.table, part.leads) for part in PARTS), *_UNEXPORTED]
    counts = {
        str(table.name): connection.execute(
            sa.select(sa.func.count()).select_from(table).where(_whose(table, leads, org_id, user_id))
        ).scalar_one()
        for table, leads in parts
    }
    size = sa.func.coalesce(tables.recordings.c.size, sa.func.length(tables.recordings.c.body))
    sound = sa.select(sa.func.coalesce(sa.func.sum(size), 0)).where(
        _whose(tables.recordings, "conversation_id", org_id, user_id)
    )
    return {**counts, "recording_bytes": int(connection.execute(sound).scalar_one())}


def list_conversation_ids(connection: Connection, org_id: str, user_id: str, after: str) -> Sequence[str]:
    """List a portion of a person's conversations after one. Return their identifiers."""
    query = sa.select(conversations.c.id).where(
        conversations.c.org_id == org_id, conversations.c.user_id == user_id, conversations.c.id > after
    )
    return connection.execute(query.order_by(conversations.c.id).limit(PORTION)).scalars().all()


def list_portions(
    connection: Connection, part: PersonTable, org_id: str, user_id: str, within: Sequence[str] | None, after: str
) -> list[list[str]]:
    """List the keys of rows that a table has of a person, after a key; `within` some conversations, if given.

    Return some of them, in portions of rows that one may have in memory at once.
    """
    key = part.table.c[part.key]
    here = _whose(part.table, part.leads, org_id, user_id)
    if within is not None:
        here = sa.and_(part.table.c.org_id == org_id, among(part.table.c.conversation_id, within))
    lengths = (sa.func.coalesce(sa.func.length(sa.cast(column, sa.Text)), 0) for column in part.shown)
    query = sa.select(key, sum(lengths, sa.literal(0))).where(here, key > after).order_by(key).limit(PORTION)
    portions: list[list[str]] = []
    room = 0
    for found, size in connection.execute(query):
        room -= size
        if room < 0 or not portions:
            portions.append([])
            room = PORTION_CHARACTERS - size
        portions[-1].append(str(found))
    return portions


def list_rows_of(
    connection: Connection, part: PersonTable, org_id: str, keys: Sequence[str]
) -> Sequence[Mapping[str, Any]]:
    """List the rows of a table that have some keys, in their order. Return what is shown of them."""
    key = part.table.c[part.key]
    query = sa.select(*part.shown).where(part.table.c.org_id == org_id, among(key, keys)).order_by(key)
    return [_restored(part, dict(row)) for row in connection.execute(query).mappings()]


def _restored(part: PersonTable, row: dict[str, Any]) -> dict[str, Any]:
    return {**row, **{name: restore(row[name]) for name, restore in part.packed.items()}}


_AUTHORS = ("creator_user_id", "updated_by_user_id")


def unname_author(connection: Connection, org_id: str, user_id: str, instead: str) -> int:
    """Put another name in the place of a person in what they have made for the organization. Return how many rows."""
    changed = 0
    for table in metadata.sorted_tables:
        for name in _AUTHORS:
            if name in table.c:
                theirs = sa.and_(table.c.org_id == org_id, table.c[name] == user_id)
                changed += connection.execute(sa.update(table).where(theirs).values({name: instead})).rowcount
    return changed


def remove_jobs(connection: Connection, org_id: str, texts: Sequence[str]) -> int:
    """Remove the jobs of an organization whose payload has one of some texts. Return how many there were."""
    payload = sa.cast(tables.jobs.c.payload, sa.Text)
    named = sa.or_(*(payload.contains(text, autoescape=True) for text in texts))
    return connection.execute(sa.delete(tables.jobs).where(tables.jobs.c.org_id == org_id, named)).rowcount
