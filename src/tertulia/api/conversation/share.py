"""Links that show a conversation to whoever has them: make, list and revoke them. Extensions of the contract."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends, Path
from pydantic import BaseModel, Field
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.api.conversation.paths import ConversationPath
from tertulia.api.http.deps import CurrentActor, Organization
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import ObjectId
from tertulia.auth.actor import Actor
from tertulia.auth.links import make_link, require_share
from tertulia.auth.permissions import Permission
from tertulia.errors import BadRequest
from tertulia.storage import message as messages
from tertulia.storage import share as shares
from tertulia.storage.conversation import get_conversation, lock_conversation
from tertulia.storage.share import Share

router = contract_router("/conversation", "Conversation")

SHORTEST, LONGEST = timedelta(minutes=1), timedelta(days=30)
MOST_LINKS = 50
"""Links to a conversation that hold at once."""


class NewShare(BaseModel):
    """A link about to be made: to the whole conversation, or to one message of it."""

    message_id: ObjectId | None = None
    duration: Annotated[timedelta, Field(ge=SHORTEST, le=LONGEST)] = timedelta(days=7)


class CreatedShare(BaseModel):
    """A link with its token, which is shown this once."""

    id: str
    token: str
    expires_at: datetime


@router.post(
    "/{conversation_id}/share/",
    operation_id="create-share",
    summary="Make a link to a conversation",
    status_code=201,
    dependencies=[Depends(rate_limit(20))],
)
async def create_share(
    actor: CurrentActor, organization: Organization, conversation_id: ConversationPath, body: NewShare
) -> CreatedShare:
    """Make a link by which whoever has it reads a conversation, or one message of it. Return its token, once."""
    made, token = await organization.database.write(_create, actor, conversation_id, body)
    return CreatedShare(id=made.id, token=token, expires_at=made.expires_at)


def _create(connection: Connection, actor: Actor, conversation_id: str, body: NewShare) -> tuple[Share, str]:
    conversation = lock_conversation(connection, actor.org_id, conversation_id)  # not one too many at once
    require_share(actor, conversation)
    if body.message_id is not None:
        message = messages.get_message(connection, conversation.id, body.message_id)
        actor.require(Permission.CONVERSATION_GET_MESSAGE, messages.attributes(conversation, message.message_type))
    if len(shares.list_shares(connection, conversation.id)) >= MOST_LINKS:
        raise BadRequest(f"There are {MOST_LINKS} links to this conversation already: revoke one.")
    return make_link(connection, actor, conversation.id, body.message_id, clock.now() + body.duration)


class ShareInstance(BaseModel):
    """A link that holds; `user_id` is the person who made it."""

    id: str
    message_id: str | None
    user_id: str
    created_at: datetime
    expires_at: datetime


class Shares(BaseModel):
    shares: list[ShareInstance]


@router.get(
    "/{conversation_id}/share/",
    operation_id="get-shares",
    summary="Get the links to a conversation",
    dependencies=[Depends(rate_limit(50))],
)
async def get_shares(actor: CurrentActor, organization: Organization, conversation_id: ConversationPath) -> Shares:
    """List the links to a conversation that hold, the newest first."""
    found = await organization.database.read(_list, actor, conversation_id)
    return Shares(shares=list(map(_instance, found)))


def _list(connection: Connection, actor: Actor, conversation_id: str) -> Sequence[Share]:
    conversation = get_conversation(connection, actor.org_id, conversation_id)
    require_share(actor, conversation)
    return shares.list_shares(connection, conversation.id)


def _instance(share: Share) -> ShareInstance:
    return ShareInstance(
        id=share.id,
        message_id=share.message_id,
        user_id=share.user_id,
        created_at=share.created_at,
        expires_at=share.expires_at,
    )


@router.delete(
    "/{conversation_id}/share/{share_id}",
    operation_id="delete-share",
    summary="Revoke a link to a conversation",
    status_code=204,
    dependencies=[Depends(rate_limit(50))],
)
async def delete_share(
    actor: CurrentActor,
    organization: Organization,
    conversation_id: ConversationPath,
    share_id: Annotated[ObjectId, Path()],
) -> None:
    """Revoke a link: from now on it shows nothing."""
    await organization.database.write(_delete, actor, conversation_id, share_id)


def _delete(connection: Connection, actor: Actor, conversation_id: str, share_id: str) -> None:
    conversation = get_conversation(connection, actor.org_id, conversation_id)
    require_share(actor, conversation)
    shares.delete_share(connection, conversation.id, share_id)
