"""The past of a conversation, as a turn shows it to a model."""

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from tertulia.storage.database.prepared import Prepared
from tertulia.storage.tables import messages
from tertulia.storage.turn.values import Message

_HISTORY = Prepared(
    sa.select(
        messages.c.id,
        messages.c.message_type,
        messages.c.format,
        messages.c.sender,
        messages.c.content,
        messages.c.created_at,
    )
    .where(messages.c.conversation_id == bindparam("conversation_id"))
    .order_by(messages.c.created_at.desc())
    .limit(bindparam("limit"))
)


def list_history(connection: Connection, conversation_id: str, limit: int) -> list[Message]:
    """The newest `limit` messages, oldest first."""
    rows = _HISTORY.all(connection, {"conversation_id": conversation_id, "limit": limit})
    return [Message(**row) for row in reversed(rows)]
