"""Services: an agent and a context graph that users talk to, in named sets of versions."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import BaseModel, ConfigDict, StringConstraints
from sqlalchemy import ColumnElement
from sqlalchemy.engine import Connection, RowMapping

from tertulia.api import service_rules
from tertulia.api.http.deps import CurrentActor, Organization
from tertulia.api.http.pagination import sorting, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.tag_filter import parse_tag_filters
from tertulia.api.http.types import Keyterms, ObjectId, Tag, Tags, Text, UserInfo
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.errors import BadRequest, NotFound
from tertulia.ids import new_id
from tertulia.storage import service as store
from tertulia.storage.database.paging import Page, Sort, Window
from tertulia.storage.service import EDGE, ServiceFilter, VersionSet
from tertulia.storage.versioned import Author

router = contract_router("/service", "Service")

VersionSetName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40, pattern="^[A-Za-z0-9_-]+$")
]


class LLMConfig(BaseModel):
    llm_name: Text
    params: dict[str, Any] = {}


class VersionSetBody(BaseModel):
    """Null numbers stand for the latest versions; the official client leaves them out."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    agent_version_number: int | None = None
    service_hierarchical_state_machine_version_number: int | None = None
    llm_model_preferences: dict[str, LLMConfig]

    def to_version_set(self) -> VersionSet:
        return VersionSet(
            self.agent_version_number,
            self.service_hierarchical_state_machine_version_number,
            {name: config.model_dump() for name, config in self.llm_model_preferences.items()},
        )


class NewService(BaseModel):
    service_hierarchical_state_machine_id: ObjectId
    agent_id: ObjectId
    name: Text
    description: Text
    is_active: bool
    release_version_set: VersionSetBody | None = None
    keyterms: Keyterms
    tags: Tags


class CreatedService(BaseModel):
    id: str


class ServiceChanges(BaseModel):
    """What is null stays as it is."""

    name: Text | None = None
    description: Text | None = None
    is_active: bool | None = None
    agent_id: ObjectId | None = None
    service_hierarchical_state_machine_id: ObjectId | None = None
    tags: Tags | None = None
    keyterms: Keyterms | None = None


class UpsertVersionSet(BaseModel):
    version_set: VersionSetBody


class ServiceInstance(BaseModel):
    id: str
    name: str
    version_sets: dict[str, VersionSetBody]
    description: str
    is_active: bool
    service_hierarchical_state_machine_id: str
    agent_id: str
    tags: list[Tag]
    keyterms: list[str]
    creator: UserInfo
    updated_by: UserInfo


class FilterValues(BaseModel):
    tags: list[str]


class ServicePage(BaseModel):
    services: list[ServiceInstance]
    has_more: bool
    continuation_token: int | None
    filter_values: FilterValues | None


@router.get("/", operation_id="get-services", dependencies=[Depends(rate_limit(50))])
async def get_services(
    organization: Organization,
    actor: CurrentActor,
    part: Annotated[Window, Depends(window(default=10, most=20))],
    sort: Annotated[Sort, Depends(sorting("name", "is_active"))],
    id: Annotated[set[ObjectId], Query()] = set(),
    is_active: bool | None = None,
    tags: Annotated[list[str], Query(description="`key:value`, `key:*` or `key:`; all must match.")] = [],
) -> ServicePage:
    """The services that the caller may see. The first page also lists the tags there are."""
    visible = actor.visible(Permission.SERVICE_GET_SERVICE, store.COLUMNS)
    narrow = ServiceFilter(list(id), is_active, parse_tag_filters(tags, "tags"))
    page, version_sets, all_tags = await organization.database.read(
        _list, organization.org_id, visible, narrow, sort, part
    )
    return ServicePage(
        services=[_instance(row, version_sets[row["id"]]) for row in page.items],
        has_more=page.has_more,
        continuation_token=page.continuation_token,
        filter_values=None if all_tags is None else FilterValues(tags=all_tags),
    )


@router.post("/", operation_id="create-service", status_code=201, dependencies=[Depends(rate_limit(20))])
async def create_service(organization: Organization, actor: CurrentActor, body: NewService) -> CreatedService:
    """Create a service with its version sets `edge` (the latest of everything) and `release`."""
    service_id = new_id()
    target = {"org_id": organization.org_id, "service_id": service_id}
    actor.require(Permission.SERVICE_CREATE_SERVICE, target)
    for name in sorted(store.LOCKED_SETS):
        actor.require(Permission.SERVICE_CREATE_VERSION_SET, {**target, "version_set_name": name})
    await organization.database.write(_create, organization.org_id, service_id, body, _author(actor))
    return CreatedService(id=service_id)


@router.post("/{service_id}/", operation_id="update-service", dependencies=[Depends(rate_limit(20))])
async def update_service(
    organization: Organization, actor: CurrentActor, service_id: ObjectId, body: ServiceChanges
) -> None:
    """Change fields of a service."""
    target = {"org_id": organization.org_id, "service_id": service_id}
    authorize = partial(actor.require, Permission.SERVICE_UPDATE_SERVICE, target)
    await organization.database.write(_update, organization.org_id, service_id, authorize, body, _author(actor))


@router.put(
    "/{service_id}/version_sets/{version_set_name}/",
    operation_id="upsert-service-version-set",
    status_code=204,
    dependencies=[Depends(rate_limit(30))],
)
async def upsert_version_set(
    organization: Organization,
    actor: CurrentActor,
    service_id: ObjectId,
    version_set_name: VersionSetName,
    body: UpsertVersionSet,
) -> None:
    """Create or replace a version set of a service."""
    target = {"org_id": organization.org_id, "service_id": service_id, "version_set_name": version_set_name}
    create = partial(actor.require, Permission.SERVICE_CREATE_VERSION_SET, target)
    update = partial(actor.require, Permission.SERVICE_UPDATE_VERSION_SET, target)
    version_set = body.version_set.to_version_set()
    await organization.database.write(
        _upsert, organization.org_id, service_id, version_set_name, version_set, create, update
    )


@router.delete(
    "/{service_id}/version_sets/{version_set_name}/",
    operation_id="delete-service-version-set",
    status_code=204,
    dependencies=[Depends(rate_limit(30))],
)
async def delete_version_set(
    organization: Organization, actor: CurrentActor, service_id: ObjectId, version_set_name: str
) -> None:
    """Delete a version set of a service; not `edge` nor `release`."""
    target = {"org_id": organization.org_id, "service_id": service_id, "version_set_name": version_set_name}
    authorize = partial(actor.require, Permission.SERVICE_DELETE_VERSION_SET, target)
    await organization.database.write(
        store.delete_version_set, organization.org_id, service_id, version_set_name, authorize
    )


# --- Units -----------------------------------------------------------------------------------------------------------


def _list(
    connection: Connection, org_id: str, visible: ColumnElement[bool], narrow: ServiceFilter, sort: Sort, part: Window
) -> tuple[Page[RowMapping], dict[str, dict[str, VersionSet]], list[str] | None]:
    page = store.list_services(connection, org_id, visible, narrow, sort, part)
    version_sets = store.list_version_sets(connection, [row["id"] for row in page.items])
    return page, version_sets, store.list_tags(connection, org_id) if part.offset == 0 else None


def _create(connection: Connection, org_id: str, service_id: str, body: NewService, author: Author) -> None:
    release = body.release_version_set.to_version_set() if body.release_version_set else EDGE
    sets = {"edge": EDGE, "release": release}
    parts = store.find_parts(connection, org_id, body.agent_id, body.service_hierarchical_state_machine_id)
    if isinstance(parts, str):
        raise NotFound(parts)
    service_rules.check_parts(parts)
    service_rules.check_version_sets(connection, parts, sets.values())
    row = {
        "id": service_id,
        "org_id": org_id,
        "context_graph_id": body.service_hierarchical_state_machine_id,
        **body.model_dump(include={"name", "description", "is_active", "agent_id", "tags", "keyterms"}),
    }
    store.create_service(connection, row, author, sets)


def _update(
    connection: Connection,
    org_id: str,
    service_id: str,
    authorize: Callable[[], None],
    body: ServiceChanges,
    author: Author,
) -> None:
    service = store.get_service(connection, org_id, service_id)
    authorize()
    changes = body.model_dump(exclude_none=True)
    if graph_id := changes.pop("service_hierarchical_state_machine_id", None):
        changes["context_graph_id"] = graph_id
    activated = changes.get("is_active", False) and not service["is_active"]
    if activated or changes.keys() & {"agent_id", "context_graph_id"}:
        after = {**service, **changes}
        parts = store.find_parts(connection, org_id, after["agent_id"], after["context_graph_id"])
        if isinstance(parts, str):
            raise BadRequest(parts)
        service_rules.check_parts(parts)
        sets = store.list_version_sets(connection, [service_id])[service_id]
        service_rules.check_version_sets(connection, parts, sets.values())
    store.update_service(connection, service, changes, author)


def _upsert(
    connection: Connection,
    org_id: str,
    service_id: str,
    name: str,
    version_set: VersionSet,
    create: Callable[[], None],
    update: Callable[[], None],
) -> None:
    service = store.get_service(connection, org_id, service_id)
    authorize = update if store.has_version_set(connection, org_id, service_id, name) else create
    authorize()
    if name == "edge":
        raise BadRequest("The version set edge always has the latest versions; it cannot be changed.")
    parts = store.find_parts(connection, org_id, service["agent_id"], service["context_graph_id"])
    if isinstance(parts, str):
        raise BadRequest(parts)
    service_rules.check_version_sets(connection, parts, [version_set])
    store.put_version_set(connection, org_id, service_id, name, version_set)


# --- Rendering -------------------------------------------------------------------------------------------------------


def _author(actor: Actor) -> Author:
    return Author(actor.org_id, actor.user_id)


def _instance(row: RowMapping, version_sets: dict[str, VersionSet]) -> ServiceInstance:
    return ServiceInstance(
        id=row["id"],
        name=row["name"],
        version_sets={name: _version_set(version_set) for name, version_set in version_sets.items()},
        description=row["description"],
        is_active=row["is_active"],
        service_hierarchical_state_machine_id=row["context_graph_id"],
        agent_id=row["agent_id"],
        tags=[Tag(key=key, value=value) for key, value in row["tags"].items()],
        keyterms=row["keyterms"],
        creator=UserInfo(org_id=row["creator_org_id"], user_id=row["creator_user_id"]),
        updated_by=UserInfo(org_id=row["updated_by_org_id"], user_id=row["updated_by_user_id"]),
    )


def _version_set(version_set: VersionSet) -> VersionSetBody:
    return VersionSetBody.model_validate(
        {
            "agent_version_number": version_set.agent_version,
            "service_hierarchical_state_machine_version_number": version_set.context_graph_version,
            "llm_model_preferences": version_set.llm_model_preferences,
        }
    )
