"""Insights into an interaction, and suggestions for a user: after one, or to begin a conversation."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import Body, Depends
from pydantic import BaseModel, Field
from sqlalchemy import ColumnElement
from sqlalchemy.engine import Connection

from tertulia.api.conversation.paths import ConversationPath, InteractionPath
from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import ObjectId, Text
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.engine.agent.suggestions import StarterWish
from tertulia.errors import BadRequest, Unprocessable
from tertulia.events import MessageType
from tertulia.storage import memory as memories
from tertulia.storage.conversation import Conversation, get_conversation
from tertulia.storage.database.paging import Window
from tertulia.storage.memory import Memory, MemoryFilter
from tertulia.storage.message import (
    MESSAGE_TYPES,
    Interaction,
    attributes,
    columns_of,
    get_interaction,
    get_message,
)
from tertulia.storage.turn.history import HistoryBounds, list_history
from tertulia.storage.turn.values import Message, Opening

router = contract_router("/conversation", "Conversation")

VersionInfo = tuple[str, int]

DEFAULT_CONTEXT = "A person who needs what this service offers, and who talks openly to get it."
"""The user for whom responses are recommended, unless the request describes another."""


class WorkingMemory(BaseModel):
    content: str
    context: str


class ToolCallLog(BaseModel):
    """A call of a tool; `duration` is in seconds, `output` null if it was not to be kept."""

    tool_name: str
    tool_id: str
    tool_version: str
    input: dict[str, Any]
    output: str | None
    duration: float


class PendingToolCall(BaseModel):
    """A call of a tool that waits for the user's yes, as it would be made."""

    tool_name: str
    tool_version: str
    arguments: dict[str, Any]


class InteractionInsights(BaseModel):
    current_state_name: str
    current_state_action: str
    current_state_objective: str
    state_transition_logs: list[dict[str, Any]]
    working_memory: list[WorkingMemory]
    reflections: list[str]
    triggered_dynamic_behavior_set_version_info: VersionInfo | None
    select_next_action_tool_call_logs: list[list[ToolCallLog]]
    engage_user_tool_call_logs: list[list[ToolCallLog]]
    pending_tool_calls: list[PendingToolCall] = []
    """An extension: the calls that wait for the user's yes."""
    reply_cut_short: Literal["length", "content_filter"] | None = None
    """An extension: the model had no room left for the reply, or its vendor's filter stopped it."""


@router.get(
    "/{conversation_id}/interaction/{interaction_id}/insights",
    operation_id="get-interaction-insights",
    dependencies=[Depends(rate_limit(20))],
)
async def get_interaction_insights(
    actor: CurrentActor,
    organization: Organization,
    conversation_id: ConversationPath,
    interaction_id: InteractionPath,
) -> InteractionInsights:
    """Explain the agent's message by the states that it went through. Return them, and the state that it is in."""
    read = organization.database.read
    interaction, reflections = await read(_get_interaction, actor, conversation_id, interaction_id)
    recalled = await read(_list_recalled, actor, conversation_id, interaction)
    graph_id, _ = interaction.graph
    actor.require(
        Permission.ORGANIZATION_GET_SERVICE_HIERARCHICAL_STATE_MACHINE,
        {"org_id": organization.org_id, "service_hierarchical_state_machine_id": graph_id},
    )
    used = [WorkingMemory(content=memory.content, context=memory.context) for memory in recalled]
    return InteractionInsights.model_validate(
        {**interaction.insights, "reflections": reflections, "working_memory": used}
    )


def _get_interaction(
    connection: Connection, actor: Actor, conversation_id: str, interaction_id: str
) -> tuple[Interaction, list[str]]:
    """Read an interaction. Return it, and the thoughts of its reflection states, none if the caller may not read."""
    conversation = get_conversation(connection, actor.org_id, conversation_id)
    actor.require(Permission.CONVERSATION_GET_INTERACTION_INSIGHTS, conversation.attributes)
    interaction = get_interaction(connection, conversation.id, interaction_id)
    if not actor.may(Permission.CONVERSATION_GET_MESSAGE, attributes(conversation, "agent-inner-thought")):
        return interaction, []
    logs = interaction.insights["state_transition_logs"]
    thought_ids = [log["inner_thought_message_id"] for log in logs if log["type"] == "reflection"]
    return interaction, [get_message(connection, conversation.id, thought_id).content for thought_id in thought_ids]


def _list_recalled(
    connection: Connection, actor: Actor, conversation_id: str, interaction: Interaction
) -> list[Memory]:
    """List the memories that an interaction worked with. Return those whose messages the caller may see."""
    ids: Sequence[str] = interaction.insights["working_memory"]
    if not ids:
        return []
    conversation = get_conversation(connection, actor.org_id, conversation_id)
    by_type: dict[MessageType, ColumnElement[bool]] = {
        kind: actor.visible(Permission.CONVERSATION_GET_MESSAGE, columns_of(kind)) for kind in MESSAGE_TYPES
    }
    narrow = MemoryFilter(id=ids)
    page = memories.list_memories(connection, conversation.owner.user_id, by_type, narrow, (), Window(len(ids)))
    return sorted(page.items, key=lambda memory: ids.index(memory.id))


# --- Recommended responses -------------------------------------------------------------------------------------------


class RecommendResponses(BaseModel):
    context: Text = DEFAULT_CONTEXT


class RecommendedResponses(BaseModel):
    recommended_responses: list[str]


@router.post(
    "/{conversation_id}/interaction/{interaction_id}/recommend_responses",
    operation_id="recommend-responses-for-interaction",
    dependencies=[Depends(rate_limit(20))],
)
async def recommend_responses_for_interaction(
    runtime: CurrentRuntime,
    actor: CurrentActor,
    organization: Organization,
    conversation_id: ConversationPath,
    interaction_id: InteractionPath,
    body: Annotated[RecommendResponses | None, Body()] = None,
) -> RecommendedResponses:
    """Suggest messages that the user could send next. Return them; the interaction must be the newest."""
    history = runtime.conversations.history
    conversation, said = await organization.database.read(
        _newest_interaction, actor, conversation_id, interaction_id, history
    )
    texts = await runtime.conversations.recommend_responses(
        organization.database, conversation, said, (body or RecommendResponses()).context
    )
    return RecommendedResponses(recommended_responses=texts)


def _newest_interaction(
    connection: Connection, actor: Actor, conversation_id: str, interaction_id: str, history: HistoryBounds
) -> tuple[Conversation, list[Message]]:
    conversation = get_conversation(connection, actor.org_id, conversation_id)
    actor.require(Permission.CONVERSATION_GET_RECOMMENDED_RESPONSES, conversation.attributes)
    get_interaction(connection, conversation.id, interaction_id)
    if conversation.is_finished:
        raise BadRequest("The conversation is finished.")
    if conversation.last_interaction_id != interaction_id:
        raise BadRequest("interaction_id: this is not the newest interaction.")
    return conversation, list_history(connection, conversation.id, history)


# --- Conversation starters -------------------------------------------------------------------------------------------


Count = Annotated[int, Field(gt=0, le=10)]


class GenerateConversationStarter(BaseModel):
    service_id: ObjectId
    service_version_set_name: str = "release"
    facets: Annotated[list[Text], Field(min_length=1, max_length=100)]
    min_count: Count
    max_count: Count
    generation_instructions: Text


class Starter(BaseModel):
    prompt: str
    facets: list[str]


class ConversationStarters(BaseModel):
    prompts: list[Starter]


@router.post(
    "/conversation_starter", operation_id="generate-conversation-starter", dependencies=[Depends(rate_limit(10))]
)
async def generate_conversation_starter(
    runtime: CurrentRuntime, actor: CurrentActor, organization: Organization, body: GenerateConversationStarter
) -> ConversationStarters:
    """Suggest first messages to a service. Return them, each about some of the given facets."""
    version_set = body.service_version_set_name
    opening = Opening(organization.org_id, actor.user_id, body.service_id, version_set, {}, is_test=True)
    actor.require(Permission.CONVERSATION_CREATE_CONVERSATION, opening.attributes)
    if body.min_count > body.max_count:
        raise Unprocessable("min_count must not be greater than max_count.", ("body", "min_count"))
    wish = StarterWish(body.facets, body.generation_instructions, body.min_count, body.max_count)
    found = await runtime.conversations.recommend_starters(organization.database, opening, wish)
    return ConversationStarters(prompts=[Starter(prompt=item.prompt, facets=list(item.facets)) for item in found])
