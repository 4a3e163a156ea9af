"""What is known of an interaction, and what a user could say: after one, or to begin a conversation."""

from typing import Annotated, Any

from fastapi import Body, Depends, Path
from pydantic import BaseModel, Field
from sqlalchemy.engine import Connection

from tertulia.api.conversation.conversation import conversation_target
from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import ObjectId, Text
from tertulia.auth.permissions import Permission
from tertulia.engine.agent import suggestions
from tertulia.errors import BadRequest, Unprocessable
from tertulia.storage import conversation as stored
from tertulia.storage import message as stored_messages
from tertulia.storage.conversation import Record
from tertulia.storage.turn.claim import find_service
from tertulia.storage.turn.history import list_history
from tertulia.storage.turn.values import Message, Opening

router = contract_router("/conversation", "Conversation")

ConversationPath = Annotated[ObjectId, Path()]
InteractionPath = Annotated[ObjectId, Path()]
VersionInfo = tuple[str, int]

DEFAULT_CONTEXT = "A person who needs what this service offers, and who talks openly to get it."
"""Who the user is taken for when responses are recommended, where the request does not say."""


class WorkingMemory(BaseModel):
    content: str
    context: str


class ToolCallLog(BaseModel):
    """A call of a tool; `duration` is in seconds, `output` null where it was not to be kept."""

    tool_name: str
    tool_id: str
    tool_version: str
    input: dict[str, Any]
    output: str | None
    duration: float


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
    """How the agent came to its message: the states it went through and where it stands."""

    def read(connection: Connection) -> Record:
        row = stored.get_conversation(connection, organization.org_id, conversation_id)
        actor.require(Permission.CONVERSATION_GET_INTERACTION_INSIGHTS, conversation_target(row))
        return stored_messages.get_interaction(connection, conversation_id, interaction_id)

    insights = (await organization.database.read(read))["insights"]
    graph_id = insights["current_graph"][0]
    actor.require(
        Permission.ORGANIZATION_GET_SERVICE_HIERARCHICAL_STATE_MACHINE,
        {"org_id": organization.org_id, "service_hierarchical_state_machine_id": graph_id},
    )
    return InteractionInsights.model_validate({**insights, "reflections": []})


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
    """Messages that the user could send next, after the newest interaction."""
    conversations = runtime.conversations

    def read(connection: Connection) -> tuple[Record, list[Message]]:
        row = stored.get_conversation(connection, organization.org_id, conversation_id)
        actor.require(Permission.CONVERSATION_GET_RECOMMENDED_RESPONSES, conversation_target(row))
        stored_messages.get_interaction(connection, conversation_id, interaction_id)
        if row["is_finished"]:
            raise BadRequest("The conversation is finished.")
        if row["last_interaction_id"] != interaction_id:
            raise BadRequest("interaction_id: this is not the newest interaction.")
        return row, list_history(connection, conversation_id, conversations.history)

    row, history = await organization.database.read(read)
    agent = await conversations.library.agent(organization.database, (row["agent_id"], row["agent_version"]))
    texts = await suggestions.recommend_responses(
        conversations.models, row["llm_model_preferences"], agent, history, (body or RecommendResponses()).context
    )
    return RecommendedResponses(recommended_responses=texts)


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
    """First messages that a user of a service could send, each about some of the given facets."""
    target = {
        "org_id": organization.org_id,
        "conversation_user_id": actor.user_id,
        "service_id": body.service_id,
        "conversations_visible_to_admins": True,
    }
    actor.require(Permission.CONVERSATION_CREATE_CONVERSATION, target)
    if body.min_count > body.max_count:
        raise Unprocessable("min_count must not be greater than max_count.", ("body", "min_count"))
    opening = Opening(organization.org_id, actor.user_id, body.service_id, body.service_version_set_name, {}, True)
    service = await organization.database.read(find_service, opening)
    library = runtime.conversations.library
    graph_version: VersionInfo = (service["context_graph_id"], service["graph_version"])
    found = await suggestions.conversation_starters(
        runtime.conversations.models,
        service["llm_model_preferences"],
        await library.agent(organization.database, (service["agent_id"], service["agent_version"])),
        (await library.graphs(organization.database, graph_version))[graph_version],
        body.facets,
        body.generation_instructions,
        (body.min_count, body.max_count),
    )
    return ConversationStarters(prompts=[Starter(prompt=item.prompt, facets=list(item.facets)) for item in found])
