"""The past of a conversation, as a turn shows it to a model."""

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from tertulia.storage.database.prepared import PreparedSelect
from tertulia.storage.database.rows import columns
from tertulia.storage.tables import messages
from tertulia.storage.turn.values import Message

_HISTORY = PreparedSelect(
    Message,
    sa.select(*columns(Message, messages))
    .where(messages.c.conversation_id == bindparam("conversation_id"))
    .order_by(messages.c.created_at.desc())
    .limit(bindparam("limit")),
)


def list_history(connection: Connection, conversation_id: str, limit: int) -> list[Message]:
    """List the newest `limit` messages of a conversation. Return them oldest first."""
    newest = _HISTORY.all(connection, {"conversation_id": conversation_id, "limit": limit})
    return newest[::-1]
