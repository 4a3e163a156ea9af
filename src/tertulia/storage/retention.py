"""Retention: how long an organization keeps what was said, and the removal of what is older, in portions.

A unit locks users first, then conversations: see the order of locks in `storage.turn`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.ids import first_id_at
from tertulia.storage.database.dialect import Timestamp
from tertulia.storage.database.shapes import among
from tertulia.storage.erasure import PORTION_BYTES, PORTION_ROWS, delete_recordings
from tertulia.storage.memory import count_change, forget_memory
from tertulia.storage.tables import (
    behavior_invocations,
    conversations,
    idempotency_keys,
    interactions,
    memories,
    messages,
    organizations,
    recordings,
    results,
    streams,
    tool_invocations,
    traces,
    users,
)
from tertulia.storage.usage import add_to_organization, shard_of

CONVERSATIONS = 10
"""Conversations that one transaction removes at most."""


@dataclass(frozen=True, slots=True)
class Retention:
    """The days for which an organization keeps things; None: without end, but traces 30 days at most."""

    conversations_days: int | None = None
    recordings_days: int | None = None
    traces_days: int | None = None
    memories_days: int | None = None


def get_retention(connection: Connection, org_id: str) -> Retention:
    """Fetch the retention of an organization. Return it; nothing is removed unless somebody has said so."""
    query = sa.select(organizations.c.retention).where(organizations.c.org_id == org_id)
    stored: Any = connection.execute(query).scalar()
    return Retention() if stored is None else Retention(**stored)


def put_retention(connection: Connection, org_id: str, retention: Retention) -> None:
    """Write the retention of an organization that this transaction has locked."""
    this = organizations.c.org_id == org_id
    connection.execute(sa.update(organizations).where(this).values(retention=asdict(retention)))


def list_retentions(connection: Connection) -> Mapping[str, Retention]:
    """List the organizations of this cluster that do not keep everything. Return the retention of each."""
    query = sa.select(organizations.c.org_id, organizations.c.retention).where(
        organizations.c.retention.is_not(None), organizations.c.deleted_at.is_(None)
    )
    stored: Sequence[Any] = connection.execute(query).all()
    return {row.org_id: Retention(**row.retention) for row in stored}


# --- Conversations ---------------------------------------------------------------------------------------------------


def remove_conversations(connection: Connection, org_id: str, before: datetime) -> bool:
    """Remove a portion of the conversations in which nothing was said since a time, with all that belongs to them.

    Sound and streams go first, some megabytes at a time; then a conversation goes as a whole. Return True if there may
    be more.
    """
    held = _hold_old(connection, org_id, before)
    if not held:
        return False
    ids = list(held)
    if _remove_sound(connection, org_id, recordings.c.conversation_id.in_(ids)):
        return True
    if _remove_streams(connection, ids):
        return True
    freed = _count_said(connection, held)
    _remove_whole(connection, org_id, ids)
    _give_back(connection, org_id, freed)
    return True


def _hold_old(connection: Connection, org_id: str, before: datetime) -> dict[str, str]:
    """Choose conversations that are old and lock them, their users first. Return their users, by their ids."""
    last = sa.func.coalesce(conversations.c.last_message_time, conversations.c.created_at)
    lease = conversations.c.lease_expires_at
    old = sa.and_(
        conversations.c.org_id == org_id,
        conversations.c.created_at < before,
        sa.type_coerce(last, Timestamp) < before,
        sa.or_(lease.is_(None), lease < clock.now()),
    )
    query = sa.select(conversations.c.id, conversations.c.user_id).where(old)
    chosen = connection.execute(query.order_by(conversations.c.created_at).limit(CONVERSATIONS)).all()
    if not chosen:
        return {}
    _lock_users(connection, {row.user_id for row in chosen})
    still = query.where(among(conversations.c.id, [row.id for row in chosen])).with_for_update()
    return {row.id: row.user_id for row in connection.execute(still)}


def _lock_users(connection: Connection, user_ids: set[str]) -> None:
    query = sa.select(users.c.id).where(among(users.c.id, sorted(user_ids))).order_by(users.c.id)
    connection.execute(query.with_for_update()).all()


def _remove_streams(connection: Connection, ids: Sequence[str]) -> bool:
    query = sa.select(streams.c.interaction_id).where(streams.c.conversation_id.in_(ids)).limit(PORTION_ROWS)
    found = connection.execute(query).scalars().all()
    if found:
        connection.execute(sa.delete(streams).where(among(streams.c.interaction_id, found)))
    return bool(found)


def _count_said(connection: Connection, held: Mapping[str, str]) -> Counter[str]:
    """Count the bytes of what was said in conversations. Return them by the user."""
    content = messages.c.content
    is_sqlite = connection.dialect.name == "sqlite"
    size = sa.func.length(sa.cast(content, sa.LargeBinary)) if is_sqlite else sa.func.octet_length(content)
    query = sa.select(messages.c.conversation_id, sa.func.sum(size)).group_by(messages.c.conversation_id)
    freed: Counter[str] = Counter()
    for conversation_id, said in connection.execute(query.where(messages.c.conversation_id.in_(list(held)))):
        freed[held[conversation_id]] += said
    return freed


def _remove_whole(connection: Connection, org_id: str, ids: Sequence[str]) -> None:
    """Remove conversations that are locked, and whose sound and streams are gone."""
    made = sa.select(memories.c.id, memories.c.user_id).where(memories.c.conversation_id.in_(ids))
    for memory in connection.execute(made).all():
        forget_memory(connection, memory.user_id, memory.id)
        count_change(connection, memory.user_id)
    turns = sa.select(interactions.c.id).where(interactions.c.conversation_id.in_(ids))
    connection.execute(sa.delete(idempotency_keys).where(idempotency_keys.c.interaction_id.in_(turns)))
    connection.execute(sa.delete(traces).where(traces.c.org_id == org_id, traces.c.conversation_id.in_(ids)))
    for table in (behavior_invocations, results, tool_invocations, messages, interactions):
        connection.execute(sa.delete(table).where(table.c.conversation_id.in_(ids)))
    connection.execute(sa.delete(conversations).where(conversations.c.id.in_(ids)))


# --- Recordings, traces, memories ------------------------------------------------------------------------------------


def remove_recordings(connection: Connection, org_id: str, since: str, before: datetime) -> bool:
    """Remove a portion of the sound that was recorded before a time; the words stay. Return True if there may be more.

    Ids begin with their times: those below `since` are known to be gone.
    """
    old = sa.and_(
        recordings.c.org_id == org_id, recordings.c.message_id >= since, recordings.c.message_id < first_id_at(before)
    )
    return _remove_sound(connection, org_id, old)


def _remove_sound(connection: Connection, org_id: str, which: ColumnElement[bool]) -> bool:
    size = sa.func.coalesce(recordings.c.size, sa.func.length(recordings.c.body)).label("bytes")
    query = sa.select(recordings.c.message_id, size, conversations.c.user_id).join(
        conversations, conversations.c.id == recordings.c.conversation_id
    )
    chosen: dict[str, tuple[str, int]] = {}
    room = PORTION_BYTES
    for row in connection.execute(query.where(which).order_by(recordings.c.message_id).limit(PORTION_ROWS)):
        room -= row.bytes
        if chosen and room < 0:
            break
        chosen[row.message_id] = row.user_id, row.bytes
    if not chosen:
        return False
    _lock_users(connection, {user_id for user_id, _ in chosen.values()})
    here = sa.select(recordings.c.message_id).where(among(recordings.c.message_id, list(chosen))).with_for_update()
    left = connection.execute(here).scalars().all()  # another worker may have removed some of them meanwhile
    delete_recordings(connection, left)
    freed: Counter[str] = Counter()
    for message_id in left:
        user_id, removed = chosen[message_id]
        freed[user_id] += removed
    _give_back(connection, org_id, freed)
    return True


def remove_traces(connection: Connection, org_id: str, since: str, before: datetime) -> bool:
    """Remove a portion of the traces of turns before a time.

    Return True if there may be more; see remove_recordings.
    """
    old = sa.and_(
        traces.c.org_id == org_id, traces.c.interaction_id >= since, traces.c.interaction_id < first_id_at(before)
    )
    query = sa.select(traces.c.interaction_id).where(old).order_by(traces.c.interaction_id).limit(PORTION_ROWS)
    found = connection.execute(query).scalars().all()
    if found:
        connection.execute(sa.delete(traces).where(among(traces.c.interaction_id, found)))
    return bool(found)


def remove_memories(connection: Connection, org_id: str, since: str, before: datetime) -> bool:
    """Forget a portion of the memories that were made before a time, and what was made of them.

    Return True if there may be more; see remove_recordings.
    """
    old = sa.and_(memories.c.org_id == org_id, memories.c.id >= since, memories.c.id < first_id_at(before))
    query = sa.select(memories.c.id, memories.c.user_id).where(old).order_by(memories.c.id).limit(PORTION_ROWS)
    found = connection.execute(query).all()
    _lock_users(connection, {row.user_id for row in found})
    for row in found:
        forget_memory(connection, row.user_id, row.id)
    for user_id in sorted({row.user_id for row in found}):
        count_change(connection, user_id)
    return bool(found)


def _give_back(connection: Connection, org_id: str, freed: Mapping[str, int]) -> None:
    """Take bytes off what users, who are locked, and their organization are counted for."""
    for user_id, removed in sorted(freed.items(), key=lambda each: (shard_of(each[0]), each[0])):
        mine = users.c.id == user_id
        connection.execute(sa.update(users).where(mine).values(stored_bytes=users.c.stored_bytes - removed))
    for user_id, removed in sorted(freed.items(), key=lambda each: (shard_of(each[0]), each[0])):
        add_to_organization(connection, org_id, user_id, -removed)
