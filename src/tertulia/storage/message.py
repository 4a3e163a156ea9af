"""Messages and interactions, as they are read back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping
from sqlalchemy.sql.elements import ColumnElement

from tertulia.errors import NotFound
from tertulia.events import MessageType
from tertulia.storage.conversation import COLUMNS as CONVERSATION_COLUMNS
from tertulia.storage.conversation import get_conversation
from tertulia.storage.database.paging import Page, Sort, Window, ordering, page
from tertulia.storage.tables import conversations, interactions, messages, users

COLUMNS: Mapping[str, ColumnElement[Any]] = {**CONVERSATION_COLUMNS, "message_type": messages.c.message_type}
"""The attributes of a message that a permission's conditions can name."""


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """What a list of messages is narrowed to; an empty field narrows nothing."""

    id: Sequence[str] = ()
    message_type: Sequence[MessageType] = ()
    interaction_id: Sequence[str] = ()


def list_messages(
    connection: Connection,
    org_id: str,
    conversation_id: str,
    visible: ColumnElement[bool],
    narrow: MessageFilter,
    sort: Sort,
    window: Window,
) -> Page[RowMapping]:
    """Messages of a conversation; newest first by default. `visible` may name columns of its owner's row.

    Raises:
        NotFound: there is no such conversation.
    """
    get_conversation(connection, org_id, conversation_id)
    conditions = [
        messages.c[name].in_(values)
        for name in ("id", "message_type", "interaction_id")
        if (values := getattr(narrow, name))
    ]
    query = (
        sa.select(messages)
        .join(conversations, conversations.c.id == messages.c.conversation_id)
        .join(users, users.c.id == conversations.c.user_id)
        .where(messages.c.conversation_id == conversation_id, visible, *conditions)
        .order_by(*ordering(sort, _SORTABLE, messages.c.created_at.desc()))
    )
    return page(connection, query, window)


_SORTABLE = {"created_at": messages.c.created_at, "interaction_id": messages.c.interaction_id}


def get_message(connection: Connection, conversation_id: str, message_id: str) -> RowMapping:
    """A message of a conversation.

    Raises:
        NotFound: there is none.
    """
    query = sa.select(messages).where(messages.c.conversation_id == conversation_id, messages.c.id == message_id)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound(f"There is no message {message_id}.")
    return row


def get_interaction(connection: Connection, conversation_id: str, interaction_id: str) -> RowMapping:
    """A settled interaction of a conversation.

    Raises:
        NotFound: there is none.
    """
    query = sa.select(interactions).where(
        interactions.c.conversation_id == conversation_id, interactions.c.id == interaction_id
    )
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound(f"There is no interaction {interaction_id}.")
    return row
