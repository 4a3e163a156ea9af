"""Calls of tools that turns made: listed and searched."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from heapq import nlargest
from typing import Annotated, Any, Literal, get_args

from fastapi import Depends, Query
from pydantic import BaseModel, Field
from sqlalchemy.engine import Connection

from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization
from tertulia.api.http.pagination import PageModel, sorting, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import ObjectId, Text256
from tertulia.api.tool.rules import VersionInstance, admitted, constraint_of
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.errors import BadRequest, Unprocessable
from tertulia.storage import tool_invocation as tool_invocations
from tertulia.storage.database.paging import Page, Sort, Window
from tertulia.storage.tool_invocation import ToolInvocation, ToolInvocationFilter
from tertulia.tools.versions import Constraint

router = contract_router("/tool", "Tool")

SourceType = Literal["regular-conversation", "simulation-conversation"]
SearchedField = Literal[
    "invocation_status.exception_message",
    "invocation_status.exception_type",
    "invocation_status.exception_stack_trace",
    "invocation_status.output",
]
MOST_CHARACTERS = 50_000_000
"""Characters of calls that a search reads."""
MOST_WORDS = 8
"""Words of a search that count, the first ones."""


class Succeeded(BaseModel):
    succeeded: Literal[True] = True
    output: str


class Failed(BaseModel):
    succeeded: Literal[False] = False
    exception_message: str
    exception_type: str
    exception_stack_trace: list[str]


class StateTransition(BaseModel):
    """A call on the way through the graph. Both indices count from 1."""

    type: Literal["state-transition"]
    current_state_machine_and_version: tuple[str, int]
    state_name: str
    state_transition_index: int
    tool_call_round_index: int


class EngageUser(BaseModel):
    """A call before the agent's word."""

    type: Literal["engage-user"]
    current_state_machine_and_version: tuple[str, int]
    tool_call_round_index: int


class InToolCallState(BaseModel):
    """The call of a tool-call state."""

    type: Literal["tool-call-state"]
    current_state_machine_and_version: tuple[str, int]
    state_name: str


Place = Annotated[StateTransition | EngageUser | InToolCallState, Field(discriminator="type")]


class RegularConversation(BaseModel):
    """The turn that made a call; it may be void, and its conversation may never have been."""

    type: Literal["regular-conversation"] = "regular-conversation"
    user_id: str
    conversation_id: str | None
    interaction_id: str | None
    invocation_metadata: Place


class ToolInvocationInstance(BaseModel):
    id: str
    org_id: str
    created_at: datetime
    updated_at: datetime
    invocation_status: Annotated[Succeeded | Failed, Field(discriminator="succeeded")]
    invocation_source: RegularConversation
    duration_ms: int
    tool_id: str
    tool_version: VersionInstance
    inputs: dict[str, Any]


class ToolInvocationPage(PageModel):
    tool_invocations: list[ToolInvocationInstance]


class FoundToolInvocations(BaseModel):
    tool_invocations: list[ToolInvocationInstance]


async def narrowing(
    invocation_source_type: Annotated[set[SourceType], Query()] = set(),
    conversation_id: Annotated[set[ObjectId], Query()] = set(),
    simulation_unit_test_set_run_id: Annotated[
        set[ObjectId], Query(description="There are no simulations here, so this finds nothing.")
    ] = set(),
    succeeded: bool | None = None,
) -> ToolInvocationFilter:
    """Read the filters that the list and the search have in common. Return them."""
    return ToolInvocationFilter(
        conversation_id=sorted(conversation_id),
        succeeded=succeeded,
        nothing=bool(simulation_unit_test_set_run_id) or invocation_source_type == {"simulation-conversation"},
    )


Narrowing = Annotated[ToolInvocationFilter, Depends(narrowing)]


@router.get("/invocation", operation_id="get-tool-invocations", dependencies=[Depends(rate_limit(50))])
async def get_tool_invocations(
    organization: Organization,
    actor: CurrentActor,
    part: Annotated[Window, Depends(window(default=100, most=100, least=0))],
    sort: Annotated[Sort, Depends(sorting(*tool_invocations.SORTABLE))],
    narrow: Narrowing,
    tool_id: Annotated[list[ObjectId], Query()] = [],
    version: Annotated[list[str], Query(description="A constraint as in PEP 440, for each tool_id.")] = [],
) -> ToolInvocationPage:
    """List the calls of turns that the caller may see the insights of, newest first unless sorted otherwise."""
    narrow = replace(narrow, tool_id=sorted(set(tool_id)))
    chosen = _versions(tool_id, version)
    page = await organization.database.read(_list, actor, narrow, chosen, sort, part)
    return ToolInvocationPage.of(page, tool_invocations=list(map(_instance, page.items)))


@router.get("/invocation/search", operation_id="search-tool-invocations", dependencies=[Depends(rate_limit(50))])
async def search_tool_invocations(
    runtime: CurrentRuntime,
    organization: Organization,
    actor: CurrentActor,
    narrow: Narrowing,
    query: Annotated[Text256, Query(description="Words of the fields that are searched.")],
    query_against: Annotated[set[SearchedField], Query(min_length=1, description="The fields that are searched.")],
    tool_id: Annotated[set[ObjectId], Query()] = set(),
) -> FoundToolInvocations:
    """Search what tools have answered. The 50 best calls are listed, the best first, and of equals the newest."""
    words = list(dict.fromkeys(word.casefold() for word in query.split()))[:MOST_WORDS]
    if not words:  # control characters are a text for the framework, and no words
        raise Unprocessable("This must have a word.", ("query", "query"))
    narrow = replace(narrow, tool_id=sorted(tool_id))
    fields = [field for field in get_args(SearchedField) if field in query_against]
    async with runtime.searches.place((actor.org_id, actor.user_id)):
        found = await organization.database.read(_search, actor, narrow, fields, words)
    return FoundToolInvocations(tool_invocations=list(map(_instance, found)))


# --- Units -----------------------------------------------------------------------------------------------------------


def _list(
    connection: Connection,
    actor: Actor,
    narrow: ToolInvocationFilter,
    versions: Mapping[str, Constraint],
    sort: Sort,
    part: Window,
) -> Page[ToolInvocation]:
    visible = actor.visible(Permission.CONVERSATION_GET_INTERACTION_INSIGHTS, tool_invocations.COLUMNS)
    if versions:
        narrow = replace(narrow, versions={each: admitted(connection, each, versions[each]) for each in versions})
    return tool_invocations.list_invocations(connection, actor.org_id, visible, narrow, sort, part)


def _search(
    connection: Connection, actor: Actor, narrow: ToolInvocationFilter, fields: Sequence[str], words: Sequence[str]
) -> Sequence[ToolInvocation]:
    visible = actor.visible(Permission.CONVERSATION_GET_INTERACTION_INSIGHTS, tool_invocations.COLUMNS)
    scores: dict[str, int] = {}
    characters = 0
    for each, text in tool_invocations.walk_texts(connection, actor.org_id, visible, narrow, fields):
        folded = text.casefold()
        score = sum(word in folded for word in words)
        if score:
            scores[each] = score
        characters += len(text)
        if characters > MOST_CHARACTERS:
            break
    best = nlargest(tool_invocations.MOST_FOUND, scores, key=scores.__getitem__)  # of equals, the first: the newest
    return tool_invocations.list_found(connection, actor.org_id, visible, best)


def _versions(tool_ids: Sequence[str], texts: Sequence[str]) -> dict[str, Constraint]:
    """Read the constraints on versions. Return them by tool, none if there are none.

    Raises:
        BadRequest: there is not one for each tool.
        Unprocessable: one of them is no constraint.
    """
    if not texts:
        return {}
    if len(texts) != len(tool_ids):
        raise BadRequest(f"There are {len(tool_ids)} tool_id and {len(texts)} version: give one version for each tool.")
    if len(set(tool_ids)) < len(tool_ids):
        raise Unprocessable("Name a tool once.", ("query", "tool_id"))
    return {
        tool_id: constraint_of(text, ("query", "version", index))
        for index, (tool_id, text) in enumerate(zip(tool_ids, texts, strict=True))
    }


# --- Rendering -------------------------------------------------------------------------------------------------------


def _instance(found: ToolInvocation) -> ToolInvocationInstance:
    failed: dict[str, Any] = {
        "exception_message": found.exception_message,
        "exception_type": found.exception_type,
        "exception_stack_trace": found.exception_stack_trace,
    }
    status = {"succeeded": found.succeeded, **({"output": found.output} if found.succeeded else failed)}
    source = {
        "user_id": found.user_id,
        "conversation_id": found.conversation_id,
        "interaction_id": found.interaction_id,
        "invocation_metadata": found.place,
    }
    return ToolInvocationInstance.model_validate(
        {
            "id": found.id,
            "org_id": found.org_id,
            "created_at": found.created_at,
            "updated_at": found.created_at,
            "invocation_status": status,
            "invocation_source": source,
            "duration_ms": found.duration_ms,
            "tool_id": found.tool_id,
            "tool_version": VersionInstance(major=found.major, minor=found.minor, patch=found.patch),
            "inputs": found.inputs,
        }
    )
