"""Erasures: the rest of a deleted user, removed in portions that hold the database's writer for a moment each.

A user goes out of sight in one short transaction, which leaves a job behind: nobody finds a conversation whose user is
gone. Its content goes afterwards, some rows and a few megabytes at a time, and the job with the last of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Table
from sqlalchemy.engine import Connection

from tertulia.storage.database.shapes import among
from tertulia.storage.job import Job, enqueue_taken
from tertulia.storage.tables import (
    behavior_invocations,
    conversations,
    feedback,
    idempotency_keys,
    interactions,
    memories,
    memory_vectors,
    memory_words,
    messages,
    recording_parts,
    recordings,
    results,
    streams,
    tool_invocations,
    traces,
    user_models,
)

PORTION_ROWS = 200
"""Rows that one transaction removes at most."""

PORTION_BYTES = 4 << 20
"""Bytes of sound and streams that one transaction removes at most, but for a larger one that goes alone."""

ERASE_USER = "erase-user"
"""The kind of job that removes the rest of a deleted user."""


def add_erasure(connection: Connection, org_id: str, user_id: str, more: Mapping[str, Any] | None = None) -> Job:
    """Have the rest of a user removed. Return the job, which the caller has taken; `more` goes into its payload."""
    payload = {"user_id": user_id, **(more or {})}
    return enqueue_taken(connection, org_id, ERASE_USER, payload)


def erase_portion(connection: Connection, org_id: str, user_id: str) -> bool:
    """Remove a portion of what is left of a user. Return True if there may be more.

    Two workers may erase the same user at once: a row that is gone is passed over.
    """
    theirs = sa.and_(conversations.c.org_id == org_id, conversations.c.user_id == user_id)
    ids = sa.select(conversations.c.id).where(theirs)
    return (
        _remove_recordings(connection, ids)
        or _remove_streams(connection, ids)
        or _remove_some(connection, behavior_invocations, behavior_invocations.c.conversation_id.in_(ids))
        or _remove_memories(connection, user_id)
        or _remove_traces(connection, traces.c.org_id == org_id, ids, user_id)
        or _remove_results(connection, ids)
        or _remove_some(connection, tool_invocations, _calls_of(org_id, user_id))
        or _remove_some(connection, feedback, feedback.c.user_id == user_id)
        or _remove_some(connection, messages, messages.c.conversation_id.in_(ids))
        or _remove_some(connection, interactions, interactions.c.conversation_id.in_(ids))
        or _remove_some(connection, conversations, theirs)
    )


def _calls_of(org_id: str, user_id: str) -> ColumnElement[bool]:
    """Return the condition for the calls of tools that a user's turns made, void ones too."""
    return sa.and_(tool_invocations.c.org_id == org_id, tool_invocations.c.user_id == user_id)


def erase_rest(connection: Connection, org_id: str, user_id: str) -> None:
    """Remove the idempotency keys and the models of a user whose conversations are gone."""
    connection.execute(sa.delete(user_models).where(user_models.c.user_id == user_id))
    keys = idempotency_keys.c
    connection.execute(sa.delete(idempotency_keys).where(keys.org_id == org_id, keys.user_id == user_id))


def delete_recordings(connection: Connection, message_ids: Sequence[str]) -> None:
    """Remove recordings with their sound."""
    if not message_ids:
        return
    connection.execute(sa.delete(recording_parts).where(among(recording_parts.c.message_id, message_ids)))
    connection.execute(sa.delete(recordings).where(among(recordings.c.message_id, message_ids)))


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


def _remove_memories(connection: Connection, user_id: str) -> bool:
    """Remove as many memories as a portion has, and all that finds them. Return True if there were any."""
    query = sa.select(memories.c.id).where(memories.c.user_id == user_id).limit(PORTION_ROWS)
    found = connection.execute(query).scalars().all()
    for table, key in ((memory_words, "memory_id"), (memory_vectors, "memory_id"), (memories, "id")):
        if found:
            connection.execute(sa.delete(table).where(among(table.c[key], found)))
    return bool(found)


def _remove_traces(connection: Connection, here: ColumnElement[bool], ids: sa.Select[tuple[str]], user_id: str) -> bool:
    """Remove traces up to the bytes of a portion, those of void turns last. Return True if there were any."""
    query = sa.select(traces.c.interaction_id, sa.func.length(traces.c.body)).where(here)
    conditions = (
        traces.c.conversation_id.in_(ids),
        traces.c.conversation_id == user_id,  # of work for the user beside all conversations
        sa.and_(traces.c.is_void.is_(True), traces.c.user_id == user_id),
    )
    chosen = next((found for one in conditions if (found := _portion(connection, query.where(one)))), ())
    if chosen:
        connection.execute(sa.delete(traces).where(among(traces.c.interaction_id, chosen)))
    return bool(chosen)


def _remove_results(connection: Connection, ids: sa.Select[tuple[str]]) -> bool:
    """Remove as many results as a portion has. Return True if there were any."""
    query = sa.select(results.c.conversation_id).where(results.c.conversation_id.in_(ids)).limit(PORTION_ROWS)
    found = connection.execute(query).scalars().all()
    if found:
        connection.execute(sa.delete(results).where(among(results.c.conversation_id, found)))
    return bool(found)


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
