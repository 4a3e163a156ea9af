"""Services: an agent and a context graph that users talk to, in named sets of versions."""

from dataclasses import replace
from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints
from sqlalchemy import ColumnElement
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.api import service_rules
from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization
from tertulia.api.http.pagination import PageModel, sorting, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.tag_filter import parse_tag_filters
from tertulia.api.http.types import (
    AnyNumber,
    BoundedJson,
    Keyterms,
    LLMConfig,
    ObjectId,
    Tag,
    Tags,
    Text,
    Text256,
    UserInfo,
)
from tertulia.api.service_rules import check_result_schema
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.errors import BadRequest, NotFound
from tertulia.ids import new_id
from tertulia.storage import service as services
from tertulia.storage.database.paging import Page, Sort, Window
from tertulia.storage.service import EDGE, LOCKED_SETS, Service, ServiceFilter, ServiceParts, VersionSet

router = contract_router("/service", "Service")

VersionSetName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=40, pattern="^[A-Za-z0-9_-]+$")
]


class VersionSetBody(BaseModel):
    """Null numbers stand for the latest versions; the official client leaves them out."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    agent_version_number: AnyNumber | None = None
    service_hierarchical_state_machine_version_number: AnyNumber | None = None
    llm_model_preferences: dict[str, LLMConfig]

    def to_version_set(self) -> VersionSet:
        """Return the version set as it is stored."""
        return VersionSet(
            self.agent_version_number,
            self.service_hierarchical_state_machine_version_number,
            {name: config.model_dump() for name, config in self.llm_model_preferences.items()},
        )


NewVersionSet = Annotated[VersionSetBody, BoundedJson]
ResultSchema = Annotated[dict[str, Any], AfterValidator(check_result_schema), BoundedJson]
ResultSchemaChange = Annotated[
    dict[str, Any], AfterValidator(lambda schema: check_result_schema(schema) if schema else schema), BoundedJson
]


class NewService(BaseModel):
    service_hierarchical_state_machine_id: ObjectId
    agent_id: ObjectId
    name: Text256
    description: Text
    is_active: bool
    release_version_set: NewVersionSet | None = None
    keyterms: Keyterms
    tags: Tags
    result_schema: ResultSchema | None = None
    """An extension: what is to be found out in each conversation, as a JSON schema."""


class CreatedService(BaseModel):
    id: str


class ServiceChanges(BaseModel):
    """New values of fields; those that are null stay as they are."""

    name: Text256 | None = None
    description: Text | None = None
    is_active: bool | None = None
    agent_id: ObjectId | None = None
    service_hierarchical_state_machine_id: ObjectId | None = None
    tags: Tags | None = None
    keyterms: Keyterms | None = None
    result_schema: ResultSchemaChange | None = None
    """An extension; an empty object removes the schema."""

    def applied_to(self, service: Service) -> Service:
        """Return a service with these changes."""
        changes = self.model_dump(exclude_none=True)
        if graph_id := changes.pop("service_hierarchical_state_machine_id", None):
            changes["context_graph_id"] = graph_id
        if self.result_schema is not None:
            changes["result_schema"] = self.result_schema or None
        return replace(service, **changes)


class UpsertVersionSet(BaseModel):
    version_set: NewVersionSet


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
    result_schema: dict[str, Any] | None = None
    """An extension."""
    creator: UserInfo
    updated_by: UserInfo


class FilterValues(BaseModel):
    tags: list[str]


class ServicePage(PageModel):
    services: list[ServiceInstance]
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
    """List the services that the caller may see. The first page also lists all tags."""
    visible = actor.visible(Permission.SERVICE_GET_SERVICE, services.COLUMNS)
    narrow = ServiceFilter(list(id), is_active, parse_tag_filters(tags, "tags"))
    page, version_sets, all_tags = await organization.database.read_snapshot(
        _list, organization.org_id, visible, narrow, sort, part
    )
    return ServicePage.of(
        page,
        services=[_instance(service, version_sets[service.id]) for service in page.items],
        filter_values=None if all_tags is None else FilterValues(tags=all_tags),
    )


@router.post("/", operation_id="create-service", status_code=201, dependencies=[Depends(rate_limit(20))])
async def create_service(
    runtime: CurrentRuntime, organization: Organization, actor: CurrentActor, body: NewService
) -> CreatedService:
    """Create a service with its version sets `edge` (the latest of everything) and `release`."""
    if body.release_version_set is not None:
        preferences = body.release_version_set.to_version_set().llm_model_preferences or {}
        service_rules.check_params(preferences, runtime.models.catalogue.params_of)
    service = _new_service(actor, body)
    await organization.database.write(_create, actor, service, body.release_version_set)
    return CreatedService(id=service.id)


@router.post("/{service_id}/", operation_id="update-service", dependencies=[Depends(rate_limit(20))])
async def update_service(
    organization: Organization, actor: CurrentActor, service_id: ObjectId, body: ServiceChanges
) -> None:
    """Change fields of a service."""
    await organization.database.write(_update, actor, service_id, body)


@router.put(
    "/{service_id}/version_sets/{version_set_name}/",
    operation_id="upsert-service-version-set",
    status_code=204,
    dependencies=[Depends(rate_limit(30))],
)
async def upsert_version_set(
    runtime: CurrentRuntime,
    organization: Organization,
    actor: CurrentActor,
    service_id: ObjectId,
    version_set_name: VersionSetName,
    body: UpsertVersionSet,
) -> None:
    """Create or replace a version set of a service."""
    version_set = body.version_set.to_version_set()
    service_rules.check_params(version_set.llm_model_preferences or {}, runtime.models.catalogue.params_of)
    await organization.database.write(_put_version_set, actor, service_id, version_set_name, version_set)


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
    await organization.database.write(_delete_version_set, actor, service_id, version_set_name)


# --- Units -----------------------------------------------------------------------------------------------------------


def _list(
    connection: Connection, org_id: str, visible: ColumnElement[bool], narrow: ServiceFilter, sort: Sort, part: Window
) -> tuple[Page[Service], dict[str, dict[str, VersionSet]], list[str] | None]:
    page = services.list_services(connection, org_id, visible, narrow, sort, part)
    version_sets = services.list_version_sets(connection, [service.id for service in page.items])
    return page, version_sets, services.list_tags(connection, org_id) if part.offset == 0 else None


def _create(connection: Connection, actor: Actor, service: Service, release: VersionSetBody | None) -> str:
    actor.require(Permission.SERVICE_CREATE_SERVICE, service.attributes)
    for name in sorted(LOCKED_SETS):
        target = services.version_set_attributes(service.org_id, service.id, name)
        actor.require(Permission.SERVICE_CREATE_VERSION_SET, target)
    sets = {"edge": EDGE, "release": release.to_version_set() if release else EDGE}
    parts = services.lock_parts(connection, service.org_id, service.agent_id, service.context_graph_id)
    service_rules.check_parts(parts)
    service_rules.check_version_sets(parts, sets.values())
    services.insert_service(connection, service, sets)
    return service.id


def _update(connection: Connection, actor: Actor, service_id: str, changes: ServiceChanges) -> None:
    service = services.lock_service(connection, actor.org_id, service_id)
    actor.require(Permission.SERVICE_UPDATE_SERVICE, service.attributes)
    after = replace(changes.applied_to(service), updated_by_org_id=actor.org_id, updated_by_user_id=actor.user_id)
    activated = after.is_active and not service.is_active
    if activated or changes.agent_id or changes.service_hierarchical_state_machine_id:
        parts = _lock_parts(connection, after)
        service_rules.check_parts(parts)
        sets = services.list_version_sets(connection, [service.id])[service.id]
        service_rules.check_version_sets(parts, sets.values())
    services.update_service(connection, after)


def _put_version_set(connection: Connection, actor: Actor, service_id: str, name: str, version_set: VersionSet) -> None:
    service = services.lock_service(connection, actor.org_id, service_id)
    exists = services.has_version_set(connection, service, name)
    actor.require(
        Permission.SERVICE_UPDATE_VERSION_SET if exists else Permission.SERVICE_CREATE_VERSION_SET,
        services.version_set_attributes(service.org_id, service.id, name),
    )
    if name == "edge":
        raise BadRequest("The version set edge always has the latest versions; it cannot be changed.")
    service_rules.check_version_sets(_lock_parts(connection, service), [version_set])
    services.put_version_set(connection, service, name, version_set)


def _delete_version_set(connection: Connection, actor: Actor, service_id: str, name: str) -> None:
    service = services.lock_service(connection, actor.org_id, service_id)
    if not services.has_version_set(connection, service, name):
        raise NotFound(f"The service has no version set {name}.")
    target = services.version_set_attributes(service.org_id, service.id, name)
    actor.require(Permission.SERVICE_DELETE_VERSION_SET, target)
    if name in LOCKED_SETS:
        raise BadRequest(f"The version set {name} cannot be deleted.")
    services.delete_version_set(connection, service, name)


def _lock_parts(connection: Connection, service: Service) -> ServiceParts:
    """Lock the parts of a service. Return them, or raise BadRequest if one of them does not exist."""
    try:
        return services.lock_parts(connection, service.org_id, service.agent_id, service.context_graph_id)
    except NotFound as error:  # 404 stands for the service alone
        raise BadRequest(error.detail) from error


# --- Rendering -------------------------------------------------------------------------------------------------------


def _new_service(actor: Actor, body: NewService) -> Service:
    return Service(
        id=new_id(),
        org_id=actor.org_id,
        name=body.name,
        description=body.description,
        is_active=body.is_active,
        agent_id=body.agent_id,
        context_graph_id=body.service_hierarchical_state_machine_id,
        tags=body.tags,
        keyterms=body.keyterms,
        result_schema=body.result_schema,
        creator_org_id=actor.org_id,
        creator_user_id=actor.user_id,
        updated_by_org_id=actor.org_id,
        updated_by_user_id=actor.user_id,
        created_at=clock.now(),
    )


def _instance(service: Service, version_sets: dict[str, VersionSet]) -> ServiceInstance:
    return ServiceInstance(
        id=service.id,
        name=service.name,
        version_sets={name: _version_set(version_set) for name, version_set in version_sets.items()},
        description=service.description,
        is_active=service.is_active,
        service_hierarchical_state_machine_id=service.context_graph_id,
        agent_id=service.agent_id,
        tags=[Tag(key=key, value=value) for key, value in service.tags.items()],
        keyterms=list(service.keyterms),
        result_schema=None if service.result_schema is None else {**service.result_schema},
        creator=UserInfo(org_id=service.creator_org_id, user_id=service.creator_user_id),
        updated_by=UserInfo(org_id=service.updated_by_org_id, user_id=service.updated_by_user_id),
    )


def _version_set(version_set: VersionSet) -> VersionSetBody:
    return VersionSetBody.model_validate(
        {
            "agent_version_number": version_set.agent_version,
            "service_hierarchical_state_machine_version_number": version_set.context_graph_version,
            "llm_model_preferences": version_set.llm_model_preferences,
        }
    )
