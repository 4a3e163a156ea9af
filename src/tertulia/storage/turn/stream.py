"""Streams of settled turns, kept so that they can be replayed for a while."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.errors import Gone, NotFound
from tertulia.storage.database.prepared import PreparedSelect
from tertulia.storage.database.rows import columns
from tertulia.storage.database.shapes import among
from tertulia.storage.tables import conversations, interactions, messages, streams
from tertulia.storage.turn.lease import is_live
from tertulia.storage.turn.outline import Outline, outline
from tertulia.storage.turn.packed import dictionary_of_stream, pack, unpack
from tertulia.storage.turn.values import Message, PackedStream, Recording

_SAID = PreparedSelect(
    Message,
    sa.select(*columns(Message, messages)).where(
        messages.c.conversation_id == sa.bindparam("conversation_id"),
        messages.c.interaction_id == sa.bindparam("interaction_id"),
    ),
)

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


def pack_stream(
    stream: bytes, interaction_id: str, said: Sequence[Message], recordings: Sequence[Recording] = ()
) -> PackedStream:
    """Pack the body of a stream, beside the messages of its turn, whose texts are in it. Return it.

    It is packed without the sound that is in the last of the turn's recordings.
    """
    without = outline(stream, recordings[-1]) if recordings else Outline(stream)
    return PackedStream(pack(without.lines, dictionary_of_stream(interaction_id, said)), without.sound)


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
        return RecordedStream(Outline.of(_unpacked(connection, row.body, conversation_id, interaction_id), row.sound))
    if row is not None and row.settled is not None:
        raise Gone("The events of this interaction are not kept any more; its messages are.")
    if row is None or row.lease_interaction_id != interaction_id or not is_live(row.lease_expires_at):
        raise NotFound(f"There is no interaction {interaction_id}.")
    return RunningElsewhere(row.lease_owner)


def _unpacked(connection: Connection, body: bytes, conversation_id: str, interaction_id: str) -> bytes:
    said = _SAID.all(connection, {"conversation_id": conversation_id, "interaction_id": interaction_id})
    try:
        return unpack(body, dictionary_of_stream(interaction_id, said))
    except zlib.error as error:  # the conversation is being erased: first its streams, then its messages
        raise Gone("The events of this interaction are not kept any more.") from error


def purge_streams(connection: Connection, now: datetime) -> bool:
    """Remove a portion of the streams that are past their time. Return True if there may be more."""
    expired = sa.select(streams.c.interaction_id).where(streams.c.expires_at <= now).limit(PURGED_AT_ONCE)
    ids = connection.execute(expired).scalars().all()
    if ids:
        connection.execute(sa.delete(streams).where(among(streams.c.interaction_id, ids)))
    return len(ids) == PURGED_AT_ONCE
