"""The turns that run in the organization, at whatever worker and host: an extension of the contract."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query
from pydantic import BaseModel

from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization
from tertulia.api.http.pagination import PageModel, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import ObjectId
from tertulia.auth.permissions import Permission
from tertulia.engine.turns.relay import Phase
from tertulia.ids import moment_of
from tertulia.storage.conversation import COLUMNS
from tertulia.storage.database.paging import Window
from tertulia.storage.turn.running import RunningFilter, RunningTurn, list_running

router = contract_router("/conversation", "Conversation")


class RunningInteraction(BaseModel):
    """An interaction that runs. `state` is null if its worker does not say, or it has just ended."""

    conversation_id: str
    interaction_id: str
    number: int
    """1 for the first of its conversation."""
    user_id: str
    service_id: str
    version_set_name: str
    started_at: datetime
    state: Phase | None


class RunningInteractions(PageModel):
    running_interactions: list[RunningInteraction]


@router.get(
    "/running",
    operation_id="get-running-interactions",
    summary="Get running interactions",
    dependencies=[Depends(rate_limit(60))],
)
async def get_running_interactions(
    runtime: CurrentRuntime,
    actor: CurrentActor,
    organization: Organization,
    part: Annotated[Window, Depends(window(default=50, most=100))],
    conversation_id: Annotated[list[ObjectId], Query()] = [],
    user_id: Annotated[list[str], Query()] = [],
    service_id: Annotated[list[ObjectId], Query()] = [],
) -> RunningInteractions:
    """List the interactions that run in conversations that the caller may see. Return a page, the oldest first."""
    visible = actor.visible(Permission.CONVERSATION_GET_CONVERSATION, COLUMNS)
    narrow = RunningFilter(conversation_id, user_id, service_id)
    page = await organization.database.read(list_running, organization.org_id, visible, narrow, part)
    states = await runtime.conversations.following.look(page.items)
    return RunningInteractions.of(
        page, running_interactions=[_instance(turn, states.get(turn.interaction_id)) for turn in page.items]
    )


def _instance(turn: RunningTurn, state: Phase | None) -> RunningInteraction:
    return RunningInteraction(
        conversation_id=turn.conversation_id,
        interaction_id=turn.interaction_id,
        number=turn.number,
        user_id=turn.user_id,
        service_id=turn.service_id,
        version_set_name=turn.version_set_name,
        started_at=moment_of(turn.interaction_id),
        state=state,
    )
