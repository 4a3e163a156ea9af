"""Recordings of spoken messages, as they are read back."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia.errors import NotFound
from tertulia.storage.tables import recordings
from tertulia.storage.turn.values import ContentType, Recording


def find_content_type(connection: Connection, message_id: str) -> ContentType | None:
    """Find the recording of a message. Return its kind of file, or None if there is none."""
    query = sa.select(recordings.c.content_type).where(recordings.c.message_id == message_id)
    return connection.execute(query).scalar()


def get_recording(connection: Connection, org_id: str, conversation_id: str, message_id: str) -> Recording:
    """Read the recording of a message. Return it.

    Raises:
        NotFound: there is none.
    """
    query = sa.select(recordings).where(
        recordings.c.org_id == org_id,
        recordings.c.conversation_id == conversation_id,
        recordings.c.message_id == message_id,
    )
    row = connection.execute(query).first()
    if row is None:
        raise NotFound(f"There is no recording of the message {message_id}.")
    return Recording(row.message_id, row.content_type, row.body)
