"""Messages and interactions, as they are read back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, get_args

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from tertulia.errors import NotFound
from tertulia.events import MessageFormat, MessageType, VersionInfo
from tertulia.storage.conversation import COLUMNS as CONVERSATION_COLUMNS
from tertulia.storage.conversation import Conversation, ListedConversation
from tertulia.storage.database.paging import Page, Sort, Window, fetch_page, ordering
from tertulia.storage.database.rows import columns, find_row
from tertulia.storage.database.shapes import among
from tertulia.storage.insights import unpack_insights
from tertulia.storage.tables import conversations, interactions, messages, users

Columns = Mapping[str, ColumnElement[Any]]

COLUMNS: Columns = {**CONVERSATION_COLUMNS, "message_type": messages.c.message_type}
"""The attributes of a message that a permission's conditions can name."""

MESSAGE_TYPES: Sequence[MessageType] = get_args(MessageType)


def columns_of(message_type: MessageType) -> Columns:
    """Return the attributes of a message of a type, if only its conversation is in the query."""
    return {**CONVERSATION_COLUMNS, "message_type": sa.literal(message_type)}


def attributes(conversation: Conversation | ListedConversation, message_type: MessageType) -> dict[str, object]:
    """Return the attributes of a conversation's message of a type; `COLUMNS` has the same ones."""
    return {**conversation.attributes, "message_type": message_type}


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message of a settled turn."""

    id: str
    interaction_id: str
    message_type: MessageType
    format: MessageFormat
    sender: str
    content: str
    created_at: datetime


_MESSAGE = sa.select(*columns(StoredMessage, messages))


@dataclass(frozen=True, slots=True)
class Interaction:
    """A settled turn of a conversation; `number` is 1 for the first. `insights` are as the engine left them."""

    id: str
    number: int
    insights: Mapping[str, Any]
    created_at: datetime

    @property
    def graph(self) -> VersionInfo:
        """The version of the graph in which the turn ended."""
        graph_id, version = self.insights["current_graph"]
        return graph_id, version


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """A filter of messages; an empty field narrows nothing."""

    id: Sequence[str] = ()
    message_type: Sequence[MessageType] = ()
    interaction_id: Sequence[str] = ()


def list_messages(
    connection: Connection,
    conversation_id: str,
    visible: ColumnElement[bool],
    narrow: MessageFilter,
    sort: Sort,
    window: Window,
) -> Page[StoredMessage]:
    """List messages of a conversation. Return a page, newest first by default.

    `visible` may name columns of the conversation and of its owner.
    """
    conditions = [
        among(messages.c[name], values)
        for name in ("id", "message_type", "interaction_id")
        if (values := getattr(narrow, name))
    ]
    query = (
        _MESSAGE.join(conversations, conversations.c.id == messages.c.conversation_id)
        .join(users, users.c.id == conversations.c.user_id)
        .where(messages.c.conversation_id == conversation_id, visible, *conditions)
        .order_by(*ordering(sort, _SORTABLE, messages.c.created_at.desc()))
    )
    return fetch_page(connection, query, window, StoredMessage)


_SORTABLE = {"created_at": messages.c.created_at, "interaction_id": messages.c.interaction_id}


def get_message(connection: Connection, conversation_id: str, message_id: str) -> StoredMessage:
    """Read a message of a conversation. Return it.

    Raises:
        NotFound: there is none.
    """
    query = _MESSAGE.where(messages.c.conversation_id == conversation_id, messages.c.id == message_id)
    message = find_row(connection, query, StoredMessage)
    if message is None:
        raise NotFound(f"There is no message {message_id}.")
    return message


def get_interaction(connection: Connection, conversation_id: str, interaction_id: str) -> Interaction:
    """Read a settled interaction of a conversation. Return it.

    Raises:
        NotFound: there is none.
    """
    query = sa.select(*columns(Interaction, interactions)).where(
        interactions.c.conversation_id == conversation_id, interactions.c.id == interaction_id
    )
    interaction = find_row(connection, query, Interaction)
    if interaction is None:
        raise NotFound(f"There is no interaction {interaction_id}.")
    return replace(interaction, insights=unpack_insights(interaction.insights))
