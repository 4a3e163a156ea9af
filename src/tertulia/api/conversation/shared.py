"""Conversations as links show them, without signing in: an extension of the contract."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Depends, Header, Response
from pydantic import BaseModel
from sqlalchemy.engine import Connection

from tertulia.api.http.deps import CurrentRuntime, Organization
from tertulia.api.http.pagination import PageModel, window
from tertulia.api.http.rate_limit import public_limit
from tertulia.api.http.routing import contract_router
from tertulia.auth.actor import Actors
from tertulia.auth.links import open_link
from tertulia.auth.permissions import Permission
from tertulia.storage import message as messages
from tertulia.storage.conversation import Conversation
from tertulia.storage.database.paging import Page, SortKey, Window
from tertulia.storage.message import MessageFilter, StoredMessage
from tertulia.storage.service import find_service_name
from tertulia.storage.share import Share

router = contract_router("/shared", "Conversation")

SHOWN = ("user-message", "agent-message")

HEADERS = {"Cache-Control": "no-store", "X-Robots-Tag": "noindex, nofollow", "Referrer-Policy": "no-referrer"}


class SharedMessage(BaseModel):
    """A message that was said; who the user was is not told."""

    sender: Literal["user", "agent"]
    message: str
    created_at: datetime


class SharedConversation(PageModel):
    """The messages of a conversation, the oldest first, or the one message that the link is of."""

    service_name: str
    is_whole: bool
    is_finished: bool
    expires_at: datetime
    messages: list[SharedMessage]


@router.get(
    "/",
    operation_id="get-shared-conversation",
    summary="Read a conversation by a link",
    dependencies=[Depends(public_limit(60))],
)
async def get_shared_conversation(
    runtime: CurrentRuntime,
    organization: Organization,
    response: Response,
    part: Annotated[Window, Depends(window(default=200, most=500))],
    x_share_token: Annotated[str, Header(max_length=200)],
) -> SharedConversation:
    """Read what a link shows. Return a page of messages; 404 if the link does not hold any more."""
    read = await organization.storage.read(_read, runtime.actors, organization.org_id, x_share_token, part)
    share, conversation, service_name, page = read
    response.headers.update(HEADERS)
    return SharedConversation.of(
        page,
        service_name=service_name,
        is_whole=share.message_id is None,
        is_finished=conversation.is_finished,
        expires_at=share.expires_at,
        messages=[_message(message) for message in page.items],
    )


def _read(
    connection: Connection, actors: Actors, org_id: str, token: str, part: Window
) -> tuple[Share, Conversation, str, Page[StoredMessage]]:
    share, maker, conversation = open_link(connection, actors, org_id, token)
    visible = maker.visible(Permission.CONVERSATION_GET_MESSAGE, messages.COLUMNS)
    narrow = MessageFilter([] if share.message_id is None else [share.message_id], SHOWN)
    page = messages.list_messages(connection, conversation.id, visible, narrow, [SortKey("created_at")], part)
    return share, conversation, find_service_name(connection, conversation.service_id), page


def _message(message: StoredMessage) -> SharedMessage:
    sender = "user" if message.message_type == "user-message" else "agent"
    return SharedMessage(sender=sender, message=message.content, created_at=message.created_at)
