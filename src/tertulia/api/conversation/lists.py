"""Lists of conversations and of their messages, and the tags that conversations are found by."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Body, Depends, Query, Response
from pydantic import BaseModel, Field
from sqlalchemy.engine import Connection

from tertulia.api.conversation.paths import ConversationPath
from tertulia.api.http.deps import CurrentActor, Organization
from tertulia.api.http.pagination import PageModel, sorting, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.tag_filter import parse_tag_filters
from tertulia.api.http.types import LLMConfig, ObjectId, Texts, Words
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.errors import BadRequest
from tertulia.events import MessageType
from tertulia.storage import conversation as conversations
from tertulia.storage import message as messages
from tertulia.storage.conversation import ConversationFilter, ListedConversation
from tertulia.storage.database.paging import Page, Sort, Window
from tertulia.storage.message import MessageFilter, StoredMessage
from tertulia.storage.service import version_set_attributes

router = contract_router("/conversation", "Conversation")

MOST_TAGS = 20


class VersionSetInfo(BaseModel):
    name: str
    agent_version_info: tuple[str, int]
    service_hierarchical_state_machine_version_info: tuple[str, int]
    llm_model_preferences: dict[str, LLMConfig]


class ConversationInstance(BaseModel):
    id: str
    user_id: str
    created_at: datetime
    is_finished: bool
    is_analyzed: bool
    completed_post_processings: list[str]
    post_processing_error: str | None = None
    """An extension: why the next step of post-processing failed; it is tried again, at once after another finish."""
    final_message: str
    service_id: str
    version_set_info: VersionSetInfo | None
    num_messages: int
    tags: dict[str, str | None]
    is_test: bool
    """An extension, as are the fields below."""
    num_turns: int
    state: str | None
    """The state in which the conversation stands; null without the permission to see insights."""
    last_message_at: datetime | None


class Conversations(PageModel):
    conversations: list[ConversationInstance]


@router.get("/", operation_id="get-conversations", response_model=Conversations, dependencies=[Depends(rate_limit(15))])
async def get_conversations(
    actor: CurrentActor,
    organization: Organization,
    part: Annotated[Window, Depends(window(default=150, most=150))],
    sort: Annotated[Sort, Depends(sorting("created_at"))],
    user_id: Annotated[list[str], Query()] = [],
    service_id: Annotated[list[ObjectId], Query()] = [],
    is_finished: Annotated[bool | None, Query()] = None,
    id: Annotated[list[ObjectId], Query()] = [],
    tag: Annotated[list[str], Query()] = [],
    is_test: Annotated[bool | None, Query(description="An extension: tests alone, or none of them.")] = None,
    version_set_name: Annotated[
        list[str], Query(description="An extension: the version sets that conversations began with.")
    ] = [],
) -> Response:
    """List the conversations that the caller may see. Return a page, newest first unless sorted otherwise."""
    visible = actor.visible(Permission.CONVERSATION_GET_CONVERSATION, conversations.COLUMNS)
    if version_set_name:  # else the filter would tell the set of conversations whose answer hides it
        visible &= actor.visible(Permission.SERVICE_GET_VERSION_SET, conversations.VERSION_SET_COLUMNS)
    if not user_id and actor.sees_own_only(Permission.CONVERSATION_GET_CONVERSATION, "conversation_user_id"):
        user_id = [actor.user_id]  # so the list reads nobody else's, whatever the other filters
    narrow = ConversationFilter(
        id, user_id, service_id, is_finished, parse_tag_filters(tag, "tag"), is_test, version_set_name
    )
    page = await organization.database.read(
        conversations.list_conversations, organization.org_id, visible, narrow, sort, part
    )
    may_read = actor.decisions(Permission.CONVERSATION_GET_MESSAGE)
    may_see_set = actor.decisions(Permission.SERVICE_GET_VERSION_SET)
    may_see_inside = actor.decisions(Permission.CONVERSATION_GET_INTERACTION_INSIGHTS)
    return Conversations.write(
        page,
        conversations=[
            _conversation(
                found,
                may_read=may_read(messages.attributes(found, found.final_message_type)),
                may_see_set=may_see_set(_version_set_attributes(found)),
                may_see_inside=may_see_inside(found.attributes),
            )
            for found in page.items
        ],
    )


class MessageInstance(BaseModel):
    id: str
    interaction_id: str
    created_at: datetime
    sender: str
    message: str
    format: Literal["text", "voice"]
    message_type: MessageType


class Messages(PageModel):
    messages: list[MessageInstance]


@router.get(
    "/{conversation_id}/messages/",
    operation_id="get-conversation-messages",
    response_model=Messages,
    dependencies=[Depends(rate_limit(20))],
)
async def get_conversation_messages(
    actor: CurrentActor,
    organization: Organization,
    conversation_id: ConversationPath,
    part: Annotated[Window, Depends(window(default=500, most=500))],
    sort: Annotated[Sort, Depends(sorting("interaction_id", "created_at"))],
    id: Annotated[list[ObjectId], Query()] = [],
    message_type: Annotated[list[MessageType], Query()] = ["agent-message", "external-event", "user-message"],
    interaction_id: Annotated[list[ObjectId], Query()] = [],
) -> Response:
    """List the messages that the caller may see of a conversation. Return a page, newest first if not sorted."""
    narrow = MessageFilter(id, message_type, interaction_id)
    page = await organization.database.read(_list_messages, actor, conversation_id, narrow, sort, part)
    return Messages.write(page, messages=[_message(message) for message in page.items])


class ModifyTags(BaseModel):
    updates: Annotated[dict[Words, Words | None], Field(max_length=MOST_TAGS)] = {}
    deletes: Texts = []


@router.post(
    "/{conversation_id}/tags/",
    operation_id="modify-tags-of-conversation",
    status_code=204,
    dependencies=[Depends(rate_limit(50))],
)
async def modify_tags_of_conversation(
    actor: CurrentActor,
    organization: Organization,
    conversation_id: ConversationPath,
    body: Annotated[ModifyTags, Body()],
) -> None:
    """Add, change and remove tags; those that are not named stay."""
    await organization.database.write(_modify_tags, actor, conversation_id, body)


# --- Units -----------------------------------------------------------------------------------------------------------


def _list_messages(
    connection: Connection, actor: Actor, conversation_id: str, narrow: MessageFilter, sort: Sort, part: Window
) -> Page[StoredMessage]:
    conversation = conversations.get_conversation(connection, actor.org_id, conversation_id)
    visible = actor.visible(Permission.CONVERSATION_GET_MESSAGE, messages.COLUMNS)
    return messages.list_messages(connection, conversation.id, visible, narrow, sort, part)


def _modify_tags(connection: Connection, actor: Actor, conversation_id: str, body: ModifyTags) -> None:
    conversation = conversations.lock_conversation(connection, actor.org_id, conversation_id)
    actor.require(Permission.CONVERSATION_MODIFY_CONVERSATION, conversation.attributes)
    kept = {key: value for key, value in conversation.tags.items() if key not in body.deletes}
    tags = {**kept, **body.updates}
    if len(tags) > MOST_TAGS:
        raise BadRequest(f"A conversation cannot have more than {MOST_TAGS} tags.")
    conversations.put_tags(connection, conversation.id, tags)


# --- Rendering -------------------------------------------------------------------------------------------------------


# Plain values, as the models above have them, for pages that are written without these.


def _conversation(
    conversation: ListedConversation, *, may_read: bool, may_see_set: bool, may_see_inside: bool
) -> dict[str, object]:
    return {
        "id": conversation.id,
        "user_id": conversation.user_id,
        "created_at": conversation.created_at,
        "is_finished": conversation.is_finished,
        "is_analyzed": conversation.is_analyzed,
        "completed_post_processings": conversation.completed_post_processings,
        "post_processing_error": conversation.post_processing_error,
        "final_message": conversation.final_message if may_read else "",
        "service_id": conversation.service_id,
        "version_set_info": _version_set_info(conversation) if may_see_set else None,
        "num_messages": conversation.num_messages,
        "tags": conversation.tags,
        "is_test": conversation.is_test,
        "num_turns": conversation.num_interactions,
        "state": conversation.position[-1][2] if may_see_inside else None,
        "last_message_at": conversation.last_message_time,
    }


def _version_set_attributes(conversation: ListedConversation) -> dict[str, object]:
    return version_set_attributes(conversation.org_id, conversation.service_id, conversation.version_set_name)


def _version_set_info(conversation: ListedConversation) -> dict[str, object]:
    return {
        "name": conversation.version_set_name,
        "agent_version_info": (conversation.agent_id, conversation.agent_version),
        "service_hierarchical_state_machine_version_info": (
            conversation.context_graph_id,
            conversation.context_graph_version,
        ),
        "llm_model_preferences": {
            name: {"llm_name": preferred["llm_name"], "params": preferred.get("params", {})}
            for name, preferred in conversation.llm_model_preferences.items()
        },
    }


def _message(message: StoredMessage) -> dict[str, object]:
    return {
        "id": message.id,
        "interaction_id": message.interaction_id,
        "created_at": message.created_at,
        "sender": message.sender,
        "message": message.content,
        "format": message.format,
        "message_type": message.message_type,
    }
