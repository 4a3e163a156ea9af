"""The parts in which recordings are written: rows of one size, so that a reader has one in memory, not the whole."""

from sqlalchemy.engine import Connection

from tertulia.storage.database.prepared import insert
from tertulia.storage.tables import recording_parts

PART_BYTES = 1 << 16
"""The bytes of every part but the last, which may be shorter."""

_INSERT_PART = insert(recording_parts)


def insert_parts(connection: Connection, org_id: str, message_id: str, body: bytes) -> None:
    """Insert the sound of the recording of a message."""
    for number, at in enumerate(range(0, len(body), PART_BYTES)):
        part = {"org_id": org_id, "message_id": message_id, "number": number, "body": body[at : at + PART_BYTES]}
        _INSERT_PART.run(connection, part)
