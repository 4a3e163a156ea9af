"""Feedback on messages: give it, change it, take it back, list it. Extensions of the contract."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query
from pydantic import BaseModel, StringConstraints
from sqlalchemy.engine import Connection

from tertulia.api.conversation.paths import ConversationPath, MessagePath
from tertulia.api.http.deps import CurrentActor, Organization
from tertulia.api.http.pagination import PageModel, sorting, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import ObjectId
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.events import MessageType
from tertulia.storage import feedback
from tertulia.storage import message as messages
from tertulia.storage.conversation import get_conversation
from tertulia.storage.database.paging import Sort, Window
from tertulia.storage.feedback import Feedback, FeedbackFilter, NewFeedback, Rating

router = contract_router("/conversation", "Conversation")

EXCERPT = 300
"""Characters of a message that a list of feedback shows."""


class GivenFeedback(BaseModel):
    """An opinion of a message."""

    rating: Rating
    comment: Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)] = ""


@router.put(
    "/{conversation_id}/messages/{message_id}/feedback",
    operation_id="put-message-feedback",
    summary="Give feedback on a message",
    status_code=204,
    dependencies=[Depends(rate_limit(50))],
)
async def put_message_feedback(
    actor: CurrentActor,
    organization: Organization,
    conversation_id: ConversationPath,
    message_id: MessagePath,
    body: GivenFeedback,
) -> None:
    """Say what the caller thinks of a message that they may read; it takes the place of what they have said before."""
    await organization.database.write(_put, actor, conversation_id, message_id, body)


@router.delete(
    "/{conversation_id}/messages/{message_id}/feedback",
    operation_id="delete-message-feedback",
    summary="Take feedback on a message back",
    status_code=204,
    dependencies=[Depends(rate_limit(50))],
)
async def delete_message_feedback(
    actor: CurrentActor, organization: Organization, conversation_id: ConversationPath, message_id: MessagePath
) -> None:
    """Remove what the caller has said of a message. 404 if they have said nothing."""
    await organization.database.write(_delete, actor, conversation_id, message_id)


def _put(connection: Connection, actor: Actor, conversation_id: str, message_id: str, body: GivenFeedback) -> None:
    _require_message(connection, actor, conversation_id, message_id)
    given = NewFeedback(actor.org_id, conversation_id, message_id, actor.user_id, body.rating, body.comment)
    feedback.put_feedback(connection, given)


def _delete(connection: Connection, actor: Actor, conversation_id: str, message_id: str) -> None:
    _require_message(connection, actor, conversation_id, message_id)
    feedback.delete_feedback(connection, message_id, actor.user_id)


def _require_message(connection: Connection, actor: Actor, conversation_id: str, message_id: str) -> None:
    """See that there is a message, and that the caller may read it."""
    conversation = get_conversation(connection, actor.org_id, conversation_id)
    message = messages.get_message(connection, conversation.id, message_id)
    actor.require(Permission.CONVERSATION_GET_MESSAGE, messages.attributes(conversation, message.message_type))


# --- List ------------------------------------------------------------------------------------------------------------


class FeedbackInstance(BaseModel):
    """An opinion of a message; `user_id` is the person who gave it, `message` the beginning of what was said."""

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


class FeedbackPage(PageModel):
    feedback: list[FeedbackInstance]


@router.get(
    "/feedback", operation_id="get-feedback", summary="Get feedback on messages", dependencies=[Depends(rate_limit(50))]
)
async def get_feedback(
    actor: CurrentActor,
    organization: Organization,
    part: Annotated[Window, Depends(window(default=50, most=100))],
    sort: Annotated[Sort, Depends(sorting(*feedback.SORTABLE))],
    conversation_id: Annotated[list[ObjectId], Query()] = [],
    message_id: Annotated[list[ObjectId], Query()] = [],
    service_id: Annotated[list[ObjectId], Query()] = [],
    user_id: Annotated[list[str], Query(description="Who gave it.")] = [],
    rating: Annotated[list[Rating], Query()] = [],
    has_comment: Annotated[bool | None, Query()] = None,
) -> FeedbackPage:
    """List the feedback on messages that the caller may read. Return a page, what was said last first."""
    visible = actor.visible(Permission.CONVERSATION_GET_MESSAGE, messages.COLUMNS)
    narrow = FeedbackFilter(conversation_id, message_id, service_id, user_id, rating, has_comment)
    page = await organization.database.read(feedback.list_feedback, organization.org_id, visible, narrow, sort, part)
    return FeedbackPage.of(page, feedback=list(map(_instance, page.items)))


def _instance(given: Feedback) -> FeedbackInstance:
    return FeedbackInstance(
        id=given.id,
        conversation_id=given.conversation_id,
        interaction_id=given.interaction_id,
        message_id=given.message_id,
        message_type=given.message_type,
        message=given.message[:EXCERPT],
        service_id=given.service_id,
        conversation_user_id=given.conversation_user_id,
        user_id=given.user_id,
        rating=given.rating,
        comment=given.comment,
        created_at=given.created_at,
        updated_at=given.updated_at,
    )
