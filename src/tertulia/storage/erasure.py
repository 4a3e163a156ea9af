"""Erasures: the rest of a deleted user, removed in portions that hold the database's writer for a moment each.

A user goes out of sight in one short transaction, which leaves an erasure behind: nobody finds a conversation whose
user is gone. Its content goes afterwards, some rows and a few megabytes at a time, and the erasure with the last of it.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Table
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.storage.database.shapes import among
from tertulia.storage.recording import delete_recordings
from tertulia.storage.tables import (
    conversations,
    erasures,
    idempotency_keys,
    interactions,
    messages,
    recordings,
    streams,
)

PORTION_ROWS = 200
"""Rows that one transaction removes at most."""

PORTION_BYTES = 4 << 20
"""Bytes of sound and streams that one transaction removes at most, but for a larger one that goes alone."""


@dataclass(frozen=True, slots=True)
class Erasure:
    """A deleted user of whom something may be left."""

    org_id: str
    user_id: str


def add_erasure(connection: Connection, org_id: str, user_id: str) -> None:
    """Have the rest of a user removed."""
    connection.execute(sa.insert(erasures).values(org_id=org_id, user_id=user_id, created_at=clock.now()))


def list_erasures(connection: Connection) -> list[Erasure]:
    """List the erasures that are not done. Return the oldest first."""
    query = sa.select(erasures.c.org_id, erasures.c.user_id).order_by(erasures.c.created_at)
    return [Erasure(*row) for row in connection.execute(query)]


def erase_portion(connection: Connection, org_id: str, user_id: str) -> bool:
    """Remove a portion of what is left of a user. Return True if there may be more."""
    this = sa.and_(erasures.c.org_id == org_id, erasures.c.user_id == user_id)
    # Locked, so that two that erase the same user take turns.
    if connection.execute(sa.select(erasures.c.user_id).where(this).with_for_update()).first() is None:
        return False
    theirs = sa.and_(conversations.c.org_id == org_id, conversations.c.user_id == user_id)
    ids = sa.select(conversations.c.id).where(theirs)
    if (
        _remove_recordings(connection, ids)
        or _remove_streams(connection, ids)
        or _remove_some(connection, messages, messages.c.conversation_id.in_(ids))
        or _remove_some(connection, interactions, interactions.c.conversation_id.in_(ids))
        or _remove_some(connection, conversations, theirs)
    ):
        return True
    keys = idempotency_keys.c
    connection.execute(sa.delete(idempotency_keys).where(keys.org_id == org_id, keys.user_id == user_id))
    connection.execute(sa.delete(erasures).where(this))
    return False


def _remove_recordings(connection: Connection, ids: sa.Select[tuple[str]]) -> bool:
    """Remove recordings up to the bytes of a portion. Return True if there were any."""
    size = sa.func.coalesce(recordings.c.size, sa.func.length(recordings.c.body))
    query = sa.select(recordings.c.message_id, size).where(recordings.c.conversation_id.in_(ids))
    chosen = _portion(connection, query)
    delete_recordings(connection, chosen)
    return bool(chosen)


def _remove_streams(connection: Connection, ids: sa.Select[tuple[str]]) -> bool:
    """Remove streams up to the bytes of a portion. Return True if there were any."""
    query = sa.select(streams.c.interaction_id, sa.func.length(streams.c.body))
    chosen = _portion(connection, query.where(streams.c.conversation_id.in_(ids)))
    if chosen:
        connection.execute(sa.delete(streams).where(among(streams.c.interaction_id, chosen)))
    return bool(chosen)


def _portion(connection: Connection, query: sa.Select[Any, Any]) -> list[str]:
    """Choose rows, of which a query gives key and size, up to the bytes of a portion. Return their keys."""
    chosen: list[str] = []
    room = PORTION_BYTES
    for row in connection.execute(query.limit(PORTION_ROWS)):
        room -= row[1]
        if chosen and room < 0:
            break
        chosen.append(row[0])
    return chosen


def _remove_some(connection: Connection, table: Table, which: ColumnElement[bool]) -> bool:
    """Remove as many rows as a portion has. Return True if there were any."""
    found = connection.execute(sa.select(table.c.id).where(which).limit(PORTION_ROWS)).scalars().all()
    if found:
        connection.execute(sa.delete(table).where(among(table.c.id, found)))
    return bool(found)
