"""Conversations: one, many, finish, tags. What a turn writes is in turn.py."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection, RowMapping
from sqlalchemy.sql.elements import ColumnElement

from tertulia import clock
from tertulia.errors import BadRequest, Conflict, NotFound
from tertulia.storage.database.paging import Page, Sort, Window, ordering, page
from tertulia.storage.database.prepared import Prepared
from tertulia.storage.database.tags import tag_condition
from tertulia.storage.tables import conversations, messages, roles, users
from tertulia.storage.turn.idempotency import free_keys
from tertulia.storage.turn.lease import FREE, is_live

Record = Mapping[Any, Any]
"""A row by its columns' names."""

Authorize = Callable[[Record], None]
"""Raises Forbidden when the caller may not act on the conversation of this row."""

COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "org_id": conversations.c.org_id,
    "conversation_id": conversations.c.id,
    "conversation_user_id": conversations.c.user_id,
    "service_id": conversations.c.service_id,
    "conversations_visible_to_admins": users.c.conversations_visible_to_admins,
}
"""The attributes of a conversation that a permission's conditions can name."""


_CONVERSATION = (
    sa.select(
        conversations,
        users.c.first_name,
        users.c.last_name,
        users.c.preferences,
        users.c.additional_context,
        users.c.conversations_visible_to_admins,
        users.c.user_model_visible_to_admins,
        roles.c.name.label("user_role_name"),
    )
    .join(users, users.c.id == conversations.c.user_id)
    .join(roles, roles.c.id == users.c.role_id)
    .where(conversations.c.org_id == bindparam("org_id"), conversations.c.id == bindparam("conversation_id"))
)


_PREPARED = Prepared(_CONVERSATION)


def get_conversation(connection: Connection, org_id: str, conversation_id: str) -> dict[str, Any]:
    """A conversation with what its owner's row says.

    Raises:
        NotFound: there is none.
    """
    row = _PREPARED.first(connection, {"org_id": org_id, "conversation_id": conversation_id})
    if row is None:
        raise NotFound(f"There is no conversation {conversation_id}.")
    return row


def refuse_unless_idle(row: Record) -> None:
    """Raise Conflict when a conversation is finished, or a turn of it is running."""
    if row["is_finished"]:
        raise Conflict("The conversation is finished.")
    if is_live(row["lease_expires_at"]):
        raise Conflict("Another operation on this conversation is running.")


def finish(connection: Connection, org_id: str, conversation_id: str, authorize: Authorize) -> None:
    """Finish a conversation; one that has no messages is removed.

    Raises:
        NotFound, Forbidden.
        Conflict: it is finished, or a turn of it is running.
    """
    row = get_conversation(connection, org_id, conversation_id)
    authorize(row)
    refuse_unless_idle(row)
    idle = sa.and_(conversations.c.id == conversation_id, conversations.c.lease_token == row["lease_token"])
    done = connection.execute(
        sa.update(conversations).where(idle).values(is_finished=True, finished_at=clock.now(), **FREE)
        if row["num_interactions"]
        else sa.delete(conversations).where(idle)
    )
    if not done.rowcount:
        raise Conflict("Another operation on this conversation is running.")
    if row["lease_interaction_id"] is not None:  # of a turn that died
        free_keys(connection, row["lease_interaction_id"])


def modify_tags(
    connection: Connection,
    org_id: str,
    conversation_id: str,
    updates: Mapping[str, str | None],
    deletes: Sequence[str],
    authorize: Authorize,
) -> None:
    """Add, change and remove tags.

    Raises:
        NotFound, Forbidden.
        BadRequest: there would be more than 20.
    """
    locked = _CONVERSATION.with_for_update(of=conversations)
    row = connection.execute(locked, {"org_id": org_id, "conversation_id": conversation_id}).mappings().first()
    if row is None:
        raise NotFound(f"There is no conversation {conversation_id}.")
    authorize(row)
    tags = {key: value for key, value in row["tags"].items() if key not in deletes} | dict(updates)
    if len(tags) > 20:
        raise BadRequest("A conversation cannot have more than 20 tags.")
    connection.execute(sa.update(conversations).where(conversations.c.id == conversation_id).values(tags=tags))


@dataclass(frozen=True, slots=True)
class ConversationFilter:
    """What a list of conversations is narrowed to; an empty field narrows nothing."""

    id: Sequence[str] = ()
    user_id: Sequence[str] = ()
    service_id: Sequence[str] = ()
    is_finished: bool | None = None
    tag: Sequence[tuple[str, str]] = ()
    """Pairs of a key and a value, where the value `*` stands for any, and an empty one for null."""


def list_conversations(
    connection: Connection,
    org_id: str,
    visible: ColumnElement[bool],
    narrow: ConversationFilter,
    sort: Sort,
    window: Window,
) -> Page[RowMapping]:
    """Settled conversations with their last message; newest first by default."""
    query = (
        sa.select(
            conversations,
            users.c.conversations_visible_to_admins,
            messages.c.content.label("final_message"),
            messages.c.message_type.label("final_message_type"),
        )
        .join(users, users.c.id == conversations.c.user_id)
        .join(
            messages,
            sa.and_(
                messages.c.conversation_id == conversations.c.id,
                messages.c.created_at == conversations.c.last_message_time,
            ),
        )
        .where(conversations.c.org_id == org_id, conversations.c.num_interactions > 0, visible, *_narrowed(narrow))
        .order_by(
            *ordering(
                sort,
                {"created_at": conversations.c.created_at},
                conversations.c.created_at.desc(),
                conversations.c.id.desc(),
            )
        )
    )
    return page(connection, query, window)


def _narrowed(narrow: ConversationFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [
        conversations.c[name].in_(values)
        for name in ("id", "user_id", "service_id")
        if (values := getattr(narrow, name))
    ]
    if narrow.is_finished is not None:
        conditions.append(conversations.c.is_finished.is_(narrow.is_finished))
    return [*conditions, *(tag_condition(conversations.c.tags, key, value) for key, value in narrow.tag)]
