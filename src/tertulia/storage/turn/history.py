"""The past of a conversation, as a turn shows it to a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam, func
from sqlalchemy.engine import Connection

from tertulia.storage.database.prepared import Prepared
from tertulia.storage.tables import conversations, messages
from tertulia.storage.turn.values import Message

_THOUGHT = "agent-inner-thought"
_MOST_THOUGHTS = 3
_BLOCKS = 4

_COLUMNS = ("id", "message_type", "format", "sender", "created_at")
_OF_CONVERSATION = messages.c.conversation_id == bindparam("conversation_id")
_IS_SAID = messages.c.message_type != _THOUGHT


def _newest(total: sa.ScalarSelect[int], *conditions: sa.ColumnElement[bool]) -> Prepared:
    """Write a query of the newest messages, beside the number of all. Returns it; texts above the bound stay behind."""
    chars = func.length(messages.c.content)
    return Prepared(
        sa.select(
            *(messages.c[name] for name in _COLUMNS),
            sa.case((chars <= bindparam("chars"), messages.c.content), else_="").label("content"),
            chars.label("chars"),
            total.label("total"),
        )
        .where(_OF_CONVERSATION, *conditions)
        .order_by(messages.c.created_at.desc())
        .limit(bindparam("messages"))
    )


_ALL = _newest(
    sa.select(conversations.c.num_messages).where(conversations.c.id == bindparam("conversation_id")).scalar_subquery()
)
_SAID = _newest(sa.select(func.count()).where(_OF_CONVERSATION, _IS_SAID).scalar_subquery(), _IS_SAID)


@dataclass(frozen=True, slots=True)
class HistoryBounds:
    """The most that a model is shown of a conversation: so many messages, and characters in them."""

    messages: int
    chars: int


def list_history(connection: Connection, conversation_id: str, bounds: HistoryBounds) -> list[Message]:
    """List the newest messages within bounds, and the newest thoughts beside them. Return them, oldest first.

    The oldest are left out by blocks of a quarter of the bound, so that the first one that is shown stays the same for
    some turns: a model that remembers the beginning of a prompt need not read it again.
    """
    parameters = {"conversation_id": conversation_id, "messages": bounds.messages, "chars": bounds.chars}
    rows: Sequence[Mapping[str, Any]] = _ALL.all(connection, parameters)
    thoughts = [row for row in rows if row["message_type"] == _THOUGHT]
    if thoughts:  # they take no message's place
        rows = _SAID.all(connection, parameters)
    shown = rows[: _count(rows, bounds)]
    return [
        Message(content=row["content"], **{name: row[name] for name in _COLUMNS})
        for row in sorted([*shown, *thoughts[:_MOST_THOUGHTS]], key=lambda row: row["created_at"])
    ]


def _count(rows: Sequence[Mapping[str, Any]], bounds: HistoryBounds) -> int:
    """Count the messages to show, of `rows` from the newest to the oldest. Returns their number."""
    count, chars = 0, 0
    for row in rows:
        chars += row["chars"]
        if chars > bounds.chars:
            break
        count += 1
    left_out = rows[0]["total"] - count if rows else 0
    rest = -left_out % max(1, bounds.messages // _BLOCKS)  # of the block that the oldest message shown is in
    return count - rest if rest < count else count
