"""Dynamic behaviour sets: instructions that agents follow when a conversation comes to one of their triggers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import nlargest
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import ColumnElement
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization
from tertulia.api.http.pagination import PageModel, parse_creator, sorting, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.tag_filter import parse_tag_filters
from tertulia.api.http.types import MAX_INTEGER, ObjectId, Tags, Text256, UserInfo
from tertulia.api.http.versions import version_range
from tertulia.api.http.warnings import warn
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.engine.graph.context_graph import ToolCallSpec
from tertulia.errors import NotFound, Unprocessable
from tertulia.events import MessageType
from tertulia.ids import new_id
from tertulia.storage import behavior as behaviors
from tertulia.storage import message as messages
from tertulia.storage import tool as tools
from tertulia.storage.behavior import (
    BehaviorBody,
    BehaviorInvocation,
    BehaviorSet,
    BehaviorSetFilter,
    BehaviorSetVersion,
    FilterValues,
)
from tertulia.storage.database.paging import Page, Sort, Window
from tertulia.storage.database.units import Database
from tertulia.storage.versioned import VersionRange

router = contract_router("/dynamic_behavior_set", "Dynamic Behavior Set")

Trigger = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)]
"""A matter that a conversation may come to, in plain words: a sentence or two."""
Instruction = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=10_000)]
MOST_CHARACTERS = 100_000_000
"""Characters of triggers that a search reads."""
PORTION = 16
"""Sets that a search looks at between two looks at its client."""
ServiceIds = Annotated[list[ObjectId], Field(max_length=1000)]


class InjectInstruction(BaseModel):
    """An instruction for the agent, beside those of the state or in their place."""

    type: Literal["inject-instruction"]
    instruction: Instruction
    overrides_instructions: bool


class BehaviorToolCallSpec(ToolCallSpec):
    tool_name: Text256


class ChangeToolCandidates(BaseModel):
    """Tools that the agent may use, beside those of the state or in their place."""

    type: Literal["change-tool-candidates"]
    tool_call_specs: Annotated[list[BehaviorToolCallSpec], Field(max_length=100)]
    overrides_existing_tool_call_specs: bool


Action = Annotated[InjectInstruction | ChangeToolCandidates, Field(discriminator="type")]


class NewVersion(BaseModel):
    conversation_triggers: Annotated[list[Trigger], Field(min_length=1, max_length=50)]
    actions: Annotated[list[Action], Field(max_length=20)]

    @property
    def tool_ids(self) -> list[str]:
        """The tools that the actions name."""
        changes = [action for action in self.actions if isinstance(action, ChangeToolCandidates)]
        return [spec.tool_id for change in changes for spec in change.tool_call_specs]

    def to_body(self) -> BehaviorBody:
        """Return the version as it is stored."""
        return BehaviorBody(self.conversation_triggers, [action.model_dump(mode="json") for action in self.actions])


class InitialVersion(NewVersion):
    is_active: bool


class NewBehaviorSet(BaseModel):
    name: Text256
    tags: Tags
    applied_to_services: ServiceIds
    initial_version: InitialVersion


class CreatedBehaviorSet(BaseModel):
    dynamic_behavior_set_id: str


class BehaviorSetChanges(BaseModel):
    """New values of fields; those that are null stay as they are."""

    name: Text256 | None = None
    tags: Tags | None = None
    applied_to_services: ServiceIds | None = None
    is_active: bool | None = None

    def applied_to(self, changed: BehaviorSet, actor: Actor) -> BehaviorSet:
        """Return a set with these changes, made by the caller."""
        changes = self.model_dump(exclude_none=True, exclude={"applied_to_services"})
        by = {"updated_by_org_id": actor.org_id, "updated_by_user_id": actor.user_id, "updated_at": clock.now()}
        return replace(changed, **changes, **by)


class BehaviorSetInstance(BaseModel):
    id: str
    name: str
    is_active: bool
    applied_to_services: list[str]
    tags: dict[str, str | None]
    created_at: datetime
    creator: UserInfo
    updated_at: datetime
    updated_by: UserInfo


class BehaviorSetFilterValues(BaseModel):
    applied_to_services_ids: list[str]
    creators: list[UserInfo]
    tags: list[str]


class BehaviorSetPage(PageModel):
    dynamic_behavior_sets: list[BehaviorSetInstance]
    filter_values: BehaviorSetFilterValues | None


class FoundBehaviorSets(BaseModel):
    dynamic_behavior_sets: list[BehaviorSetInstance]


class CreatedBehaviorSetVersion(BaseModel):
    new_version_number: int


class _Document(BaseModel):
    """A document with the contract's `_id`."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    id: Annotated[str, Field(alias="_id")]
    org_id: str
    created_at: datetime
    updated_at: datetime


class BehaviorSetVersionInstance(_Document):
    dynamic_behavior_set_id: str
    version: int
    conversation_triggers: list[str]
    actions: list[Action]
    creator: UserInfo


class BehaviorSetVersionPage(PageModel):
    dynamic_behavior_set_versions: list[BehaviorSetVersionInstance]


class BehaviorInvocationInstance(_Document):
    conversation_id: str
    service_id: str
    user_id: str
    initial_message_id: str
    agent_message_id: str | None
    agent_inner_thoughts_ids: list[str]
    dynamic_behavior_set_version_info: tuple[str, int]
    invoked_at: datetime
    external_event_message_ids: list[str]


class BehaviorInvocationPage(PageModel):
    dynamic_behavior_invocations: list[BehaviorInvocationInstance]


@dataclass(frozen=True, slots=True)
class _Shown:
    """Sets, the services of each, and on a first page the values of its filters."""

    page: Page[BehaviorSet]
    services: dict[str, list[str]]
    values: FilterValues | None = None

    def instances(self) -> list[BehaviorSetInstance]:
        return [_instance(found, self.services[found.id]) for found in self.page.items]


async def narrowing(
    is_active: bool | None = None,
    applied_to_service: Annotated[set[ObjectId], Query()] = set(),
    creator: Annotated[list[str], Query(description="`ORGANIZATION,USER`, each.")] = [],
    tag: Annotated[list[str], Query(description="`key:value`, `key:*` or `key:`; all must match.")] = [],
) -> BehaviorSetFilter:
    """Read the filters that the list and the search have in common. Return them."""
    return BehaviorSetFilter(
        is_active=is_active,
        applied_to_service=sorted(applied_to_service),
        creator=[parse_creator(text, index) for index, text in enumerate(creator)],
        tag=parse_tag_filters(tag, "tag"),
    )


Narrowing = Annotated[BehaviorSetFilter, Depends(narrowing)]


@router.post("/", operation_id="create-dynamic-behavior-set", status_code=201, dependencies=[Depends(rate_limit(200))])
async def create_behavior_set(
    organization: Organization, actor: CurrentActor, body: NewBehaviorSet
) -> CreatedBehaviorSet:
    """Create a set with its first version."""
    made = _new_set(actor, body)
    await organization.database.write(_create, actor, made, body)
    return CreatedBehaviorSet(dynamic_behavior_set_id=made.id)


@router.get("/", operation_id="get-dynamic-behavior-sets", dependencies=[Depends(rate_limit(500))])
async def get_behavior_sets(
    organization: Organization,
    actor: CurrentActor,
    part: Annotated[Window, Depends(window(default=50, most=50, least=0))],
    sort: Annotated[Sort, Depends(sorting("updated_at"))],
    narrow: Narrowing,
    id: Annotated[set[ObjectId], Query()] = set(),
) -> BehaviorSetPage:
    """List the sets that the caller may see. The first page also lists the values of the filters."""
    narrow = replace(narrow, id=sorted(id))
    shown = await organization.database.read_snapshot(_list, actor, narrow, sort, part)
    values = None if shown.values is None else _filter_values(shown.values)
    return BehaviorSetPage.of(shown.page, dynamic_behavior_sets=shown.instances(), filter_values=values)


@router.get("/search", operation_id="search-dynamic-behavior-sets", dependencies=[Depends(rate_limit(50))])
async def search_behavior_sets(
    request: Request,
    runtime: CurrentRuntime,
    organization: Organization,
    actor: CurrentActor,
    query: Annotated[Text256, Query(description="Words of the name or of the latest version's triggers.")],
    narrow: Narrowing,
) -> FoundBehaviorSets:
    """Search the names and triggers of sets. The 50 best are listed, the best first."""
    words = query.split()
    if not words:  # control characters are a text for the framework, and no words
        raise Unprocessable("This must have a word.", ("query", "query"))
    await request.body()  # after it nothing comes but the client's leaving
    async with runtime.searches.place((actor.org_id, actor.user_id)):
        found = await _search(request, organization.database, actor, narrow, words)
    shown = await organization.database.read_snapshot(_show_found, actor, found)
    return FoundBehaviorSets(dynamic_behavior_sets=shown.instances())


@router.post(
    "/{dynamic_behavior_set_id}/",
    operation_id="update-dynamic-behavior-set",
    status_code=204,
    dependencies=[Depends(rate_limit(500))],
)
async def update_behavior_set(
    organization: Organization, actor: CurrentActor, dynamic_behavior_set_id: ObjectId, body: BehaviorSetChanges
) -> None:
    """Change fields of a set; the changes hold in each conversation from its next turn on."""
    await organization.database.write(_update, actor, dynamic_behavior_set_id, body)


@router.delete(
    "/{dynamic_behavior_set_id}/",
    operation_id="delete-dynamic-behavior-instruction",
    dependencies=[Depends(rate_limit(500))],
)
async def delete_behavior_set(
    organization: Organization, actor: CurrentActor, dynamic_behavior_set_id: ObjectId
) -> None:
    """Delete a set; its invocations can still be listed."""
    await organization.database.write(_delete, actor, dynamic_behavior_set_id)


@router.post(
    "/{dynamic_behavior_set_id}/version/",
    operation_id="create-dynamic-behavior-set-version",
    status_code=201,
    dependencies=[Depends(rate_limit(200))],
)
async def create_behavior_set_version(
    organization: Organization,
    actor: CurrentActor,
    dynamic_behavior_set_id: ObjectId,
    body: NewVersion,
    version: Annotated[int | None, Query(gt=1, le=MAX_INTEGER, description="The number that it must get.")] = None,
) -> CreatedBehaviorSetVersion:
    """Create the next version of a set. The version holds in each conversation from its next turn on."""
    number = await organization.database.write(_create_version, actor, dynamic_behavior_set_id, body, version)
    return CreatedBehaviorSetVersion(new_version_number=number)


@router.get(
    "/{dynamic_behavior_set_id}/version/",
    operation_id="get-dynamic-behavior-set-versions",
    dependencies=[Depends(rate_limit(1000))],
)
async def get_behavior_set_versions(
    organization: Organization,
    actor: CurrentActor,
    dynamic_behavior_set_id: ObjectId,
    wanted: Annotated[VersionRange | None, Depends(version_range)],
    part: Annotated[Window, Depends(window(default=10, most=10))],
    sort: Annotated[Sort, Depends(sorting("version"))],
) -> BehaviorSetVersionPage:
    """List the versions of a set, the first one first unless sorted otherwise."""
    page = await organization.database.read(_list_versions, actor, dynamic_behavior_set_id, wanted, sort, part)
    return BehaviorSetVersionPage.of(page, dynamic_behavior_set_versions=[_version(found) for found in page.items])


@router.get(
    "/{dynamic_behavior_set_id}/invocation/",
    operation_id="get-dynamic-behavior-invocations",
    dependencies=[Depends(rate_limit(50))],
)
async def get_behavior_invocations(
    organization: Organization,
    actor: CurrentActor,
    dynamic_behavior_set_id: ObjectId,
    part: Annotated[Window, Depends(window(default=30, most=30))],
    sort: Annotated[Sort, Depends(sorting("invoked_at"))],
) -> BehaviorInvocationPage:
    """List the turns in which a set was chosen, newest first unless sorted otherwise."""
    page = await organization.database.read(_list_invocations, actor, dynamic_behavior_set_id, sort, part)
    return BehaviorInvocationPage.of(page, dynamic_behavior_invocations=[_invocation(found) for found in page.items])


# --- Units -----------------------------------------------------------------------------------------------------------


def _create(connection: Connection, actor: Actor, made: BehaviorSet, body: NewBehaviorSet) -> str:
    actor.require(Permission.DYNAMIC_BEHAVIOR_CREATE, made.attributes)
    actor.require(Permission.DYNAMIC_BEHAVIOR_UPDATE, made.attributes)
    _refuse_missing_tools(connection, actor.org_id, body.initial_version)
    version = body.initial_version.to_body()
    behaviors.insert_set(connection, made, body.applied_to_services, version)
    return made.id


def _list(connection: Connection, actor: Actor, narrow: BehaviorSetFilter, sort: Sort, part: Window) -> _Shown:
    visible = actor.visible(Permission.DYNAMIC_BEHAVIOR_GET, behaviors.COLUMNS)
    page = behaviors.list_sets(connection, actor.org_id, visible, narrow, sort, part)
    services = behaviors.list_services(connection, [found.id for found in page.items])
    values = behaviors.list_filter_values(connection, actor.org_id, narrow) if part.offset == 0 else None
    return _Shown(page, services, values)


async def _search(
    request: Request, database: Database, actor: Actor, narrow: BehaviorSetFilter, words: Sequence[str]
) -> Sequence[str]:
    """Search sets, a portion at a time, until the client leaves. Return the identifiers of the best, best first."""
    candidates = await database.read(_list_candidates, actor, narrow)
    scores: dict[str, int] = {}
    characters, searched = 0, 0
    while searched < len(candidates) and characters < MOST_CHARACTERS and not await request.is_disconnected():
        portion = await database.read(behaviors.score_sets, candidates[searched : searched + PORTION], words)
        scores.update(portion.scores)
        characters += portion.characters
        searched += PORTION
    if searched < len(candidates) or searched >= behaviors.MOST_SEARCHED:
        warn(request, f"Only the {searched} dynamic behavior sets that were changed last have been searched.")
    return nlargest(behaviors.MOST_FOUND, [each for each in candidates if each in scores], key=scores.__getitem__)


def _list_candidates(connection: Connection, actor: Actor, narrow: BehaviorSetFilter) -> Sequence[str]:
    visible = actor.visible(Permission.DYNAMIC_BEHAVIOR_GET, behaviors.COLUMNS)
    return behaviors.list_candidates(connection, actor.org_id, visible, narrow)


def _show_found(connection: Connection, actor: Actor, set_ids: Sequence[str]) -> _Shown:
    visible = actor.visible(Permission.DYNAMIC_BEHAVIOR_GET, behaviors.COLUMNS)
    found = behaviors.list_found(connection, actor.org_id, visible, set_ids)
    services = behaviors.list_services(connection, [each.id for each in found])
    return _Shown(Page(found, has_more=False, continuation_token=None), services)


def _update(connection: Connection, actor: Actor, set_id: str, changes: BehaviorSetChanges) -> None:
    found = behaviors.lock_set(connection, actor.org_id, set_id)
    actor.require(Permission.DYNAMIC_BEHAVIOR_UPDATE, found.attributes)
    behaviors.update_set(connection, changes.applied_to(found, actor), changes.applied_to_services)


def _delete(connection: Connection, actor: Actor, set_id: str) -> None:
    found = behaviors.lock_set(connection, actor.org_id, set_id)
    actor.require(Permission.DYNAMIC_BEHAVIOR_DELETE, found.attributes)
    behaviors.delete_set(connection, found)


def _create_version(connection: Connection, actor: Actor, set_id: str, body: NewVersion, expected: int | None) -> int:
    found = behaviors.lock_set(connection, actor.org_id, set_id)
    actor.require(Permission.DYNAMIC_BEHAVIOR_UPDATE, found.attributes)
    _refuse_missing_tools(connection, actor.org_id, body)
    return behaviors.create_version(connection, found, body.to_body(), actor.author, expected)


def _list_versions(
    connection: Connection, actor: Actor, set_id: str, wanted: VersionRange | None, sort: Sort, part: Window
) -> Page[BehaviorSetVersion]:
    found = behaviors.get_set(connection, actor.org_id, set_id)
    actor.require(Permission.DYNAMIC_BEHAVIOR_GET, found.attributes)
    return behaviors.list_versions(connection, found, wanted, sort, part)


def _list_invocations(
    connection: Connection, actor: Actor, set_id: str, sort: Sort, part: Window
) -> Page[BehaviorInvocation]:
    found = behaviors.get_set_even_deleted(connection, actor.org_id, set_id)
    actor.require(Permission.DYNAMIC_BEHAVIOR_GET, found.attributes)

    def visible(columns: messages.Columns) -> ColumnElement[bool]:
        return actor.visible(Permission.CONVERSATION_GET_MESSAGE, columns)

    by_type: dict[MessageType, ColumnElement[bool]] = {
        kind: visible(messages.columns_of(kind)) for kind in messages.MESSAGE_TYPES
    }
    return behaviors.list_invocations(connection, found.id, visible(messages.COLUMNS), by_type, sort, part)


def _refuse_missing_tools(connection: Connection, org_id: str, body: NewVersion) -> None:
    missing = tools.list_missing(connection, org_id, body.tool_ids)
    for tool_id in body.tool_ids:
        if tool_id in missing:
            raise NotFound(f"There is no tool {tool_id} in use, which an action change-tool-candidates names.")


# --- Rendering -------------------------------------------------------------------------------------------------------


def _new_set(actor: Actor, body: NewBehaviorSet) -> BehaviorSet:
    now = clock.now()
    return BehaviorSet(
        id=new_id(),
        org_id=actor.org_id,
        name=body.name,
        is_active=body.initial_version.is_active,
        tags=body.tags,
        latest_version=1,
        creator_org_id=actor.org_id,
        creator_user_id=actor.user_id,
        created_at=now,
        updated_by_org_id=actor.org_id,
        updated_by_user_id=actor.user_id,
        updated_at=now,
    )


def _instance(found: BehaviorSet, service_ids: list[str]) -> BehaviorSetInstance:
    return BehaviorSetInstance(
        id=found.id,
        name=found.name,
        is_active=found.is_active,
        applied_to_services=service_ids,
        tags=dict(found.tags),
        created_at=found.created_at,
        creator=UserInfo(org_id=found.creator_org_id, user_id=found.creator_user_id),
        updated_at=found.updated_at,
        updated_by=UserInfo(org_id=found.updated_by_org_id, user_id=found.updated_by_user_id),
    )


def _filter_values(values: FilterValues) -> BehaviorSetFilterValues:
    return BehaviorSetFilterValues(
        applied_to_services_ids=list(values.applied_to_service),
        creators=[UserInfo(org_id=org_id, user_id=user_id) for org_id, user_id in values.creator],
        tags=list(values.tag_keys),
    )


def _version(found: BehaviorSetVersion) -> BehaviorSetVersionInstance:
    content: dict[str, Any] = {"conversation_triggers": found.conversation_triggers, "actions": found.actions}
    return BehaviorSetVersionInstance.model_validate(
        {
            **content,
            "_id": found.id,
            "org_id": found.org_id,
            "created_at": found.created_at,
            "updated_at": found.created_at,
            "dynamic_behavior_set_id": found.set_id,
            "version": found.version,
            "creator": UserInfo(org_id=found.creator_org_id, user_id=found.creator_user_id),
        }
    )


def _invocation(found: BehaviorInvocation) -> BehaviorInvocationInstance:
    return BehaviorInvocationInstance.model_validate(
        {
            "_id": found.id,
            "org_id": found.org_id,
            "created_at": found.invoked_at,
            "updated_at": found.invoked_at,
            "conversation_id": found.conversation_id,
            "service_id": found.service_id,
            "user_id": found.user_id,
            "initial_message_id": found.initial_message_id,
            "agent_message_id": found.agent_message_id,
            "agent_inner_thoughts_ids": found.inner_thought_ids or [],
            "dynamic_behavior_set_version_info": (found.set_id, found.version),
            "invoked_at": found.invoked_at,
            "external_event_message_ids": found.external_event_ids or [],
        }
    )
