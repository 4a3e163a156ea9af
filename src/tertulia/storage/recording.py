"""Recordings of spoken messages: found, read in portions, and split into parts if they are stored whole."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from tertulia.errors import NotFound
from tertulia.storage.database.prepared import Prepared
from tertulia.storage.tables import recording_parts, recordings
from tertulia.storage.turn.parts import PART_BYTES, insert_parts
from tertulia.storage.turn.values import ContentType


@dataclass(frozen=True, slots=True)
class StoredRecording:
    """A recording without its sound; `size` is in bytes."""

    message_id: str
    content_type: ContentType
    size: int


def find_content_type(connection: Connection, message_id: str) -> ContentType | None:
    """Find the recording of a message. Return its kind of file, or None if there is none."""
    query = sa.select(recordings.c.content_type).where(recordings.c.message_id == message_id)
    return connection.execute(query).scalar()


def find_recording(
    connection: Connection, org_id: str, conversation_id: str, message_id: str
) -> StoredRecording | None:
    """Look for the recording of a message. Return it, or None if it is still whole: `split_whole` splits it.

    Raises:
        NotFound: there is none.
    """
    query = sa.select(recordings.c.content_type, recordings.c.size).where(
        recordings.c.org_id == org_id,
        recordings.c.conversation_id == conversation_id,
        recordings.c.message_id == message_id,
    )
    row = connection.execute(query).first()
    if row is None:
        raise _missing(message_id)
    return None if row.size is None else StoredRecording(message_id, row.content_type, row.size)


_PARTS = Prepared(
    sa.select(recording_parts.c.body)
    .where(
        recording_parts.c.message_id == bindparam("message_id"),
        recording_parts.c.number.between(bindparam("first"), bindparam("last")),
    )
    .order_by(recording_parts.c.number)
)


def read_range(connection: Connection, message_id: str, first: int, last: int) -> bytes:
    """Read the bytes of a recording from the `first` to the `last`, both included. Return them.

    Raises:
        NotFound: the recording is not that long, or gone.
    """
    part = first // PART_BYTES
    rows = _PARTS.all(connection, {"message_id": message_id, "first": part, "last": last // PART_BYTES})
    begins = part * PART_BYTES
    found = b"".join(row["body"] for row in rows)[first - begins : last + 1 - begins]
    if len(found) != last + 1 - first:
        raise _missing(message_id)
    return found


def split_next(connection: Connection) -> bool:
    """Split a recording that an earlier version has stored whole. Return True if there may be more of them."""
    query = sa.select(recordings.c.message_id).where(recordings.c.size.is_(None)).limit(1)
    message_id = connection.execute(query).scalar()
    if message_id is not None:
        split_whole(connection, message_id)
    return message_id is not None


def split_whole(connection: Connection, message_id: str) -> None:
    """Split a recording into parts if it is stored whole; safe to repeat, and to run twice at once."""
    whole = sa.and_(recordings.c.message_id == message_id, recordings.c.size.is_(None))
    row = connection.execute(sa.select(recordings.c.org_id, recordings.c.body).where(whole).with_for_update()).first()
    if row is not None:
        insert_parts(connection, row.org_id, message_id, row.body)
        connection.execute(sa.update(recordings).where(whole).values(size=len(row.body), body=b""))


def _missing(message_id: str) -> NotFound:
    return NotFound(f"There is no recording of the message {message_id}.")
