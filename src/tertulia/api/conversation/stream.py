"""Coming back to a turn, and ending it: extensions of the contract."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Annotated

from fastapi import Depends, Path, Query
from sqlalchemy.engine import Connection

from tertulia.api.conversation.conversation import conversation_target, may_interact
from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization
from tertulia.api.http.ndjson import NDJSONResponse
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import MAX_INTEGER, ObjectId
from tertulia.auth.permissions import Permission
from tertulia.engine.turns.turn import EventLog
from tertulia.storage import conversation as stored

router = contract_router("/conversation", "Conversation")

ConversationPath = Annotated[ObjectId, Path()]
InteractionPath = Annotated[ObjectId, Path()]

_ACTION = b'{"type":"current-agent-action"'


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
    """The events of an interaction, byte for byte as its stream had them, and what is still to come. 410 when its
    events are not kept any more."""
    authorize = may_interact(actor)

    def check(connection: Connection) -> bool:
        row = stored.get_conversation(connection, organization.org_id, conversation_id)
        authorize(row)
        return actor.may(Permission.CONVERSATION_GET_INTERACTION_INSIGHTS, conversation_target(row))

    sees_actions = await organization.database.read(check)
    whole_after = after if sees_actions else 0  # who sees no actions has not counted them
    stream = await runtime.conversations.follow(organization.database, conversation_id, interaction_id, whole_after)
    return NDJSONResponse(stream if sees_actions else replace(stream, log=_WithoutActions(stream.log)), 200, after)


class _WithoutActions:
    """A log without the agent's actions, for a caller who may not see them, whoever began the turn."""

    def __init__(self, log: EventLog) -> None:
        self._log = log

    async def follow(self, after: int = 0) -> AsyncGenerator[bytes, None]:
        skip = after
        async with aclosing(self._log.follow()) as chunks:
            async for chunk in chunks:
                lines = [line for line in chunk.splitlines(keepends=True) if not line.startswith(_ACTION)]
                kept, skip = lines[skip:], max(0, skip - len(lines))
                if kept:
                    yield b"".join(kept)


@router.post(
    "/{conversation_id}/interaction/{interaction_id}/cancel",
    operation_id="cancel-interaction",
    status_code=204,
    dependencies=[Depends(rate_limit(15))],
)
async def cancel_interaction(
    runtime: CurrentRuntime,
    actor: CurrentActor,
    organization: Organization,
    conversation_id: ConversationPath,
    interaction_id: InteractionPath,
) -> None:
    """End a running interaction; nothing of it remains. 409 when it is complete."""
    authorize = may_interact(actor)

    def check(connection: Connection) -> None:
        authorize(stored.get_conversation(connection, organization.org_id, conversation_id))

    await organization.database.read(check)
    await runtime.conversations.cancel(organization.database, conversation_id, interaction_id)
