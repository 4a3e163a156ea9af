"""Conversations: create, go on, finish, read back."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Body, Depends, Path, Query
from pydantic import BaseModel, Field

from tertulia.api.conversation.action_filter import EVERYTHING, action_filter
from tertulia.api.conversation.form import InteractForm, read_interact_form, spoken_message
from tertulia.api.conversation.idempotency import IdempotencyKey, make_ticket
from tertulia.api.http.deps import CurrentActor, CurrentRecentActor, Organization
from tertulia.api.http.ndjson import NDJSONResponse
from tertulia.api.http.pagination import sorting, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.tag_filter import parse_tag_filters
from tertulia.api.http.types import LLMConfig, ObjectId, Text, Texts, TextTags, Words
from tertulia.audio import require_codecs
from tertulia.auth.actor import Actor, confirm_actor
from tertulia.auth.permissions import Permission
from tertulia.engine.agent.scene import Incoming
from tertulia.engine.speech.wishes import AudioFormat, VoiceWish
from tertulia.engine.turns.conversations import Manner, Stream
from tertulia.engine.turns.turn import ActionFilter, no_actions
from tertulia.errors import Unprocessable
from tertulia.events import MessageType
from tertulia.storage import conversation as stored
from tertulia.storage import message as stored_messages
from tertulia.storage.conversation import ConversationFilter, Record
from tertulia.storage.database.paging import Sort, Window
from tertulia.storage.message import MessageFilter
from tertulia.storage.turn.values import Opening

router = contract_router("/conversation", "Conversation")

TextOrVoice = Literal["text", "voice"]
ConversationPath = Annotated[ObjectId, Path()]
ActionPattern = Annotated[str, Query(alias="current_agent_action_type")]


def conversation_target(row: Record) -> dict[str, Any]:
    """The attributes of a conversation that a permission's conditions can name."""
    return {
        "org_id": row["org_id"],
        "conversation_id": row["id"],
        "conversation_user_id": row["user_id"],
        "service_id": row["service_id"],
        "conversations_visible_to_admins": row["conversations_visible_to_admins"],
    }


def owner_target(row: Record) -> dict[str, Any]:
    """The attributes of a conversation's owner that a permission's conditions can name."""
    return {
        "org_id": row["org_id"],
        "user_id": row["user_id"],
        "user_role_name": row["user_role_name"],
        "user_model_visible_to_admins": row["user_model_visible_to_admins"],
    }


def may_interact(actor: Actor) -> stored.Authorize:
    """What raises Forbidden unless the caller may go on with a conversation."""

    def authorize(row: Record) -> None:
        actor.require(Permission.USER_UPDATE_USER_INFO, owner_target(row))
        actor.require(Permission.CONVERSATION_INTERACT_WITH_CONVERSATION, conversation_target(row))

    return authorize


def may_finish(actor: Actor) -> stored.Authorize:
    """What raises Forbidden unless the caller may finish a conversation."""

    def authorize(row: Record) -> None:
        actor.require(Permission.USER_UPDATE_USER_INFO, owner_target(row))
        actor.require(Permission.CONVERSATION_FINISH_CONVERSATION, conversation_target(row))

    return authorize


# --- Create ----------------------------------------------------------------------------------------------------------


class CreateConversation(BaseModel):
    service_id: ObjectId
    service_version_set_name: str = "release"
    initial_message: Text | None = None
    initial_message_type: Literal["user-message", "external-event"] | None = None
    tags: TextTags = {}
    is_test: bool = False

    def to_incoming(self) -> Incoming | None:
        """What the first turn answers; None where the agent speaks first."""
        if self.initial_message is None:
            if self.initial_message_type is not None:
                raise Unprocessable("Give initial_message too, or neither.", ("body", "initial_message_type"))
            return None
        return Incoming(self.initial_message_type or "user-message", self.initial_message)

    def to_opening(self, actor: Actor) -> Opening:
        """The conversation of a caller that is about to begin."""
        return Opening(
            actor.org_id, actor.user_id, self.service_id, self.service_version_set_name, self.tags, self.is_test
        )


@router.post("/", operation_id="create-conversation", status_code=201, dependencies=[Depends(rate_limit(5))])
async def create_conversation(
    caller: CurrentRecentActor,
    body: CreateConversation,
    response_format: TextOrVoice,
    action_pattern: ActionPattern = EVERYTHING,
    audio_format: AudioFormat | None = None,
    idempotency_key: IdempotencyKey = None,
) -> NDJSONResponse:
    """Create a conversation and start it. The user must not have an unfinished one of the same service."""
    runtime, organization = caller.runtime, caller.organization
    incoming = body.to_incoming()
    matches = action_filter(action_pattern)
    aloud = _aloud(response_format, audio_format)
    asked = [response_format, action_pattern, *([] if aloud is None else [aloud.audio_format])]

    async def start(actor: Actor) -> Stream:
        target = target_of_new(actor, body.service_id)
        actor.require(Permission.CONVERSATION_CREATE_CONVERSATION, target)
        return await runtime.conversations.start(
            organization.database,
            lambda connection: confirm_actor(connection, actor),
            body.to_opening(actor),
            incoming,
            shown_actions(actor, target, matches),
            Manner(make_ticket(runtime, actor, idempotency_key, "create", body, *asked), aloud),
        )

    return NDJSONResponse(await caller.act(start), 201, spoken=aloud is not None)


def _aloud(response_format: TextOrVoice, audio_format: AudioFormat | None) -> VoiceWish | None:
    if response_format == "text":
        return None
    if audio_format == "mp3":
        require_codecs("audio_format:")
    return VoiceWish(audio_format or "pcm")


def target_of_new(actor: Actor, service_id: str) -> dict[str, Any]:
    """The attributes that a conversation of the caller will have."""
    return {
        "org_id": actor.org_id,
        "conversation_user_id": actor.user_id,
        "service_id": service_id,
        "conversations_visible_to_admins": True,
    }


def shown_actions(actor: Actor, target: Mapping[str, Any], matches: ActionFilter) -> ActionFilter:
    """The caller's filter of action events; nothing passes it where the caller may not see them."""
    return matches if actor.may(Permission.CONVERSATION_GET_INTERACTION_INSIGHTS, target) else no_actions


# --- Interact and finish ---------------------------------------------------------------------------------------------


@router.post(
    "/{conversation_id}/interact",
    operation_id="interact-with-conversation",
    dependencies=[Depends(rate_limit(15))],
)
async def interact_with_conversation(
    caller: CurrentRecentActor,
    conversation_id: ConversationPath,
    form: Annotated[InteractForm, Depends(read_interact_form)],
    request_format: TextOrVoice,
    response_format: TextOrVoice,
    action_pattern: ActionPattern = EVERYTHING,
    request_audio_config: Annotated[str | None, Query()] = None,
    audio_format: AudioFormat | None = None,
    idempotency_key: IdempotencyKey = None,
) -> NDJSONResponse:
    """Send a message to a conversation, or let the agent go on, and stream its answer."""
    runtime, organization = caller.runtime, caller.organization
    incoming = form.to_incoming()
    matches = action_filter(action_pattern)
    aloud = _aloud(response_format, audio_format)
    asked = [response_format, action_pattern, *([] if aloud is None else [aloud.audio_format])]
    if request_format == "voice":
        decode = spoken_message(form.audio, request_audio_config, runtime.settings.limit.audio_s)
        incoming = replace(incoming, decode=decode)
        asked += [request_format, request_audio_config or ""]

    async def interact(actor: Actor) -> Stream:
        return await runtime.conversations.interact(
            organization.database,
            lambda connection: confirm_actor(connection, actor),
            organization.org_id,
            conversation_id,
            incoming,
            may_interact(actor),
            lambda row: shown_actions(actor, conversation_target(row), matches),
            Manner(make_ticket(runtime, actor, idempotency_key, conversation_id, form, *asked), aloud),
        )

    return NDJSONResponse(await caller.act(interact), 200, spoken=aloud is not None)


@router.post(
    "/{conversation_id}/finish/",
    operation_id="finish-conversation",
    status_code=204,
    dependencies=[Depends(rate_limit(5))],
)
async def finish_conversation(
    actor: CurrentActor, organization: Organization, conversation_id: ConversationPath
) -> None:
    """Finish a conversation. One without messages is removed."""
    await organization.database.write(stored.finish, organization.org_id, conversation_id, may_finish(actor))


# --- Lists -----------------------------------------------------------------------------------------------------------


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
    final_message: str
    service_id: str
    version_set_info: VersionSetInfo | None
    num_messages: int
    tags: dict[str, str | None]


class Conversations(BaseModel):
    conversations: list[ConversationInstance]
    has_more: bool
    continuation_token: int | None


@router.get("/", operation_id="get-conversations", dependencies=[Depends(rate_limit(15))])
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
) -> Conversations:
    """The conversations that the caller may see, newest first where no order is asked for."""
    narrow = ConversationFilter(id, user_id, service_id, is_finished, parse_tag_filters(tag, "tag"))
    visible = actor.visible(Permission.CONVERSATION_GET_CONVERSATION, stored.COLUMNS)
    page = await organization.database.read(stored.list_conversations, organization.org_id, visible, narrow, sort, part)
    return Conversations(
        conversations=[_conversation(actor, row) for row in page.items],
        has_more=page.has_more,
        continuation_token=page.continuation_token,
    )


def _conversation(actor: Actor, row: Record) -> ConversationInstance:
    message = {**conversation_target(row), "message_type": row["final_message_type"]}
    version_set = {name: row[name] for name in ("org_id", "service_id", "version_set_name")}
    return ConversationInstance(
        id=row["id"],
        user_id=row["user_id"],
        created_at=row["created_at"],
        is_finished=row["is_finished"],
        is_analyzed=row["is_analyzed"],
        completed_post_processings=row["completed_post_processings"],
        final_message=row["final_message"] if actor.may(Permission.CONVERSATION_GET_MESSAGE, message) else "",
        service_id=row["service_id"],
        version_set_info=(
            _version_set_info(row) if actor.may(Permission.SERVICE_GET_VERSION_SET, version_set) else None
        ),
        num_messages=row["num_messages"],
        tags=row["tags"],
    )


def _version_set_info(row: Record) -> VersionSetInfo:
    return VersionSetInfo(
        name=row["version_set_name"],
        agent_version_info=(row["agent_id"], row["agent_version"]),
        service_hierarchical_state_machine_version_info=(row["context_graph_id"], row["context_graph_version"]),
        llm_model_preferences=row["llm_model_preferences"],
    )


class MessageInstance(BaseModel):
    id: str
    interaction_id: str
    created_at: datetime
    sender: str
    message: str
    format: TextOrVoice
    message_type: MessageType


class Messages(BaseModel):
    messages: list[MessageInstance]
    has_more: bool
    continuation_token: int | None


@router.get(
    "/{conversation_id}/messages/", operation_id="get-conversation-messages", dependencies=[Depends(rate_limit(20))]
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
) -> Messages:
    """The messages of a conversation that the caller may see, newest first where no order is asked for."""
    narrow = MessageFilter(id, message_type, interaction_id)
    visible = actor.visible(Permission.CONVERSATION_GET_MESSAGE, stored_messages.COLUMNS)
    page = await organization.database.read(
        stored_messages.list_messages, organization.org_id, conversation_id, visible, narrow, sort, part
    )
    return Messages(
        messages=[_message(row) for row in page.items],
        has_more=page.has_more,
        continuation_token=page.continuation_token,
    )


def _message(row: Record) -> MessageInstance:
    return MessageInstance(
        id=row["id"],
        interaction_id=row["interaction_id"],
        created_at=row["created_at"],
        sender=row["sender"],
        message=row["content"],
        format=row["format"],
        message_type=row["message_type"],
    )


# --- Tags ------------------------------------------------------------------------------------------------------------


class ModifyTags(BaseModel):
    updates: Annotated[dict[Words, Words | None], Field(max_length=20)] = {}
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

    def authorize(row: Record) -> None:
        actor.require(Permission.CONVERSATION_MODIFY_CONVERSATION, conversation_target(row))

    await organization.database.write(
        stored.modify_tags, organization.org_id, conversation_id, body.updates, body.deletes, authorize
    )
