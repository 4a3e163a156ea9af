"""Feedback: opinions of messages, one for each person and message."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.errors import NotFound
from tertulia.events import MessageType
from tertulia.ids import new_id
from tertulia.storage.database.paging import Page, Sort, Window, fetch_page, ordering
from tertulia.storage.database.rows import columns
from tertulia.storage.database.shapes import among
from tertulia.storage.tables import conversations, feedback, messages, users

Rating = Literal["up", "down"]


@dataclass(frozen=True, slots=True)
class Feedback:
    """An opinion of a message; `user_id` is the person who gave it."""

    id: str
    conversation_id: str
    interaction_id: str
    message_id: str
    message_type: MessageType
    message: str
    service_id: str
    conversation_user_id: str
    user_id: str
    rating: Rating
    comment: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class NewFeedback:
    """An opinion as it is given."""

    org_id: str
    conversation_id: str
    message_id: str
    user_id: str
    rating: Rating
    comment: str


@dataclass(frozen=True, slots=True)
class FeedbackFilter:
    """A filter of feedback; an empty field narrows nothing."""

    conversation_id: Sequence[str] = ()
    message_id: Sequence[str] = ()
    service_id: Sequence[str] = ()
    user_id: Sequence[str] = ()
    rating: Sequence[Rating] = ()
    has_comment: bool | None = None


def put_feedback(connection: Connection, given: NewFeedback) -> None:
    """Write a person's opinion of a message in the place of an earlier one."""
    lock = sa.select(messages.c.id).where(messages.c.id == given.message_id).with_for_update()
    connection.execute(lock)  # of two at once, one waits for the other
    now = clock.now()
    changed = {"rating": given.rating, "comment": given.comment, "updated_at": now}
    if not connection.execute(sa.update(feedback).where(_theirs(given.message_id, given.user_id)), changed).rowcount:
        row = {**asdict(given), "id": new_id(), "created_at": now, "updated_at": now}
        connection.execute(sa.insert(feedback), row)


def delete_feedback(connection: Connection, message_id: str, user_id: str) -> None:
    """Remove a person's opinion of a message.

    Raises:
        NotFound: there is none.
    """
    if not connection.execute(sa.delete(feedback).where(_theirs(message_id, user_id))).rowcount:
        raise NotFound("You have given no feedback on this message.")


def _theirs(message_id: str, user_id: str) -> ColumnElement[bool]:
    return sa.and_(feedback.c.message_id == message_id, feedback.c.user_id == user_id)


_GIVER = users.alias("giver")
_LISTED = columns(
    Feedback,
    feedback,
    interaction_id=messages.c.interaction_id,
    message_type=messages.c.message_type,
    message=messages.c.content,
    service_id=conversations.c.service_id,
    conversation_user_id=conversations.c.user_id,
)
SORTABLE = {"created_at": feedback.c.created_at, "updated_at": feedback.c.updated_at}


def list_feedback(
    connection: Connection,
    org_id: str,
    visible: ColumnElement[bool],
    narrow: FeedbackFilter,
    sort: Sort,
    window: Window,
) -> Page[Feedback]:
    """List the feedback of an organization. Return a page, what was given or changed last before the rest.

    `visible` may name columns of the message, its conversation and the conversation's owner.
    """
    among_these = {
        feedback.c.conversation_id: narrow.conversation_id,
        feedback.c.message_id: narrow.message_id,
        feedback.c.user_id: narrow.user_id,
        feedback.c.rating: narrow.rating,
        conversations.c.service_id: narrow.service_id,
    }
    conditions = [among(column, values) for column, values in among_these.items() if values]
    if narrow.has_comment is not None:
        conditions.append((feedback.c.comment != "") == sa.literal(narrow.has_comment))
    query = (
        sa.select(*_LISTED)
        .join(messages, messages.c.id == feedback.c.message_id)
        .join(conversations, conversations.c.id == messages.c.conversation_id)
        .join(users, users.c.id == conversations.c.user_id)
        .join(_GIVER, _GIVER.c.id == feedback.c.user_id)
        .where(feedback.c.org_id == org_id, visible, *conditions)
        .order_by(*ordering(sort, SORTABLE, feedback.c.updated_at.desc(), feedback.c.id.desc()))
    )
    return fetch_page(connection, query, window, Feedback)
