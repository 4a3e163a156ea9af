"""Streams of settled turns, kept so that they can be replayed for a while."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.errors import Gone, NotFound
from tertulia.storage.database.shapes import among
from tertulia.storage.tables import conversations, interactions, streams
from tertulia.storage.turn.lease import is_live
from tertulia.storage.turn.outline import Outline, outline
from tertulia.storage.turn.values import PackedStream, Recording

PURGED_AT_ONCE = 100
"""Streams that one transaction purges; others wait for it."""


@dataclass(frozen=True, slots=True)
class RecordedStream:
    """The events of a settled turn."""

    outline: Outline


@dataclass(frozen=True, slots=True)
class RunningElsewhere:
    """The turn is running; `owner` is the worker that runs it."""

    owner: str


def pack(stream: bytes, recordings: Sequence[Recording] = ()) -> PackedStream:
    """Pack the body of a stream, without the sound that is in the last of its turn's recordings. Return it."""
    without = outline(stream, recordings[-1]) if recordings else Outline(stream)
    return PackedStream(zlib.compress(without.lines, 1), without.sound)


# One statement: between two, a running turn may settle, and would be found in neither.
_WHERE = (
    sa.select(
        streams.c.body,
        streams.c.sound,
        streams.c.expires_at,
        interactions.c.id.label("settled"),
        conversations.c.lease_owner,
        conversations.c.lease_interaction_id,
        conversations.c.lease_expires_at,
    )
    .select_from(conversations)
    .outerjoin(
        interactions,
        sa.and_(
            interactions.c.conversation_id == conversations.c.id, interactions.c.id == sa.bindparam("interaction_id")
        ),
    )
    .outerjoin(streams, streams.c.interaction_id == interactions.c.id)
    .where(conversations.c.id == sa.bindparam("conversation_id"))
)


def find_stream(connection: Connection, conversation_id: str, interaction_id: str) -> RecordedStream | RunningElsewhere:
    """Find where the events of a turn can be read. Return their record, or the worker that runs the turn.

    Raises:
        NotFound: there is no such turn, or it is void.
        Gone: its events are not kept any more.
    """
    row = connection.execute(_WHERE, {"conversation_id": conversation_id, "interaction_id": interaction_id}).first()
    if row is not None and row.body is not None and row.expires_at > clock.now():
        return RecordedStream(Outline.of(zlib.decompress(row.body), row.sound))
    if row is not None and row.settled is not None:
        raise Gone("The events of this interaction are not kept any more; its messages are.")
    if row is None or row.lease_interaction_id != interaction_id or not is_live(row.lease_expires_at):
        raise NotFound(f"There is no interaction {interaction_id}.")
    return RunningElsewhere(row.lease_owner)


def purge_streams(connection: Connection, now: datetime) -> bool:
    """Remove a portion of the streams that are past their time. Return True if there may be more."""
    expired = sa.select(streams.c.interaction_id).where(streams.c.expires_at <= now).limit(PURGED_AT_ONCE)
    ids = connection.execute(expired).scalars().all()
    if ids:
        connection.execute(sa.delete(streams).where(among(streams.c.interaction_id, ids)))
    return len(ids) == PURGED_AT_ONCE
