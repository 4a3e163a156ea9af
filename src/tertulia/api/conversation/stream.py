"""Coming back to a turn, and ending it: extensions of the contract."""

from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Query, Request
from sqlalchemy.engine import Connection

from tertulia.api.conversation.gate import record_intervention, require_interact
from tertulia.api.conversation.paths import ConversationPath, InteractionPath
from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization, make_recorder
from tertulia.api.http.ndjson import NDJSONResponse
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import MAX_INTEGER
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.engine.turns.log import LogWithoutActions
from tertulia.storage.conversation import Conversation, get_conversation

router = contract_router("/conversation", "Conversation")


@router.get(
    "/{conversation_id}/interaction/{interaction_id}/stream",
    operation_id="follow-interaction",
    dependencies=[Depends(rate_limit(60))],
)
async def follow_interaction(
    runtime: CurrentRuntime,
    actor: CurrentActor,
    organization: Organization,
    conversation_id: ConversationPath,
    interaction_id: InteractionPath,
    after: Annotated[int, Query(ge=0, le=MAX_INTEGER, description="How many lines have arrived already.")] = 0,
) -> NDJSONResponse:
    """Follow an interaction. Return its events, byte for byte as its stream has them, also those still to come.

    410 when its events are not kept any more.
    """
    conversation = await organization.database.read(_get_own, actor, conversation_id)
    sees_actions = actor.may(Permission.CONVERSATION_GET_INTERACTION_INSIGHTS, conversation.attributes)
    whole_after = after if sees_actions else 0  # a caller who sees no actions has not counted them
    following = runtime.conversations.following
    stream = await following.follow(organization.database, conversation_id, interaction_id, whole_after)
    return NDJSONResponse(stream if sees_actions else replace(stream, log=LogWithoutActions(stream.log)), 200, after)


@router.post(
    "/{conversation_id}/interaction/{interaction_id}/cancel",
    operation_id="cancel-interaction",
    status_code=204,
    dependencies=[Depends(rate_limit(15))],
)
async def cancel_interaction(
    request: Request,
    runtime: CurrentRuntime,
    actor: CurrentActor,
    organization: Organization,
    conversation_id: ConversationPath,
    interaction_id: InteractionPath,
) -> None:
    """End a running interaction; nothing of it remains. 409 when it is complete."""
    conversation = await organization.database.read(_get_own, actor, conversation_id)
    await runtime.conversations.following.cancel(organization.database, conversation_id, interaction_id)
    if conversation.owner.user_id != actor.user_id:
        recorder = make_recorder(request, organization.org_id)
        await organization.storage.write(record_intervention, recorder, "cancel-interaction", conversation)


def _get_own(connection: Connection, actor: Actor, conversation_id: str) -> Conversation:
    """Read a conversation that the caller may go on with. Return it."""
    conversation = get_conversation(connection, actor.org_id, conversation_id)
    require_interact(actor, conversation)
    return conversation
