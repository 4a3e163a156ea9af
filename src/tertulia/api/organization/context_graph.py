"""Context graphs: what an agent has to do. The wire calls them service hierarchical state machines."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Query, Response
from pydantic import BaseModel
from sqlalchemy.engine import RowMapping

from tertulia.api.http.deps import CurrentActor, Organization
from tertulia.api.http.pagination import sorting, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import ObjectId, Text256, UserInfo, VersionNumber
from tertulia.api.http.versions import version_range
from tertulia.auth.permissions import Permission
from tertulia.engine.graph.context_graph import ContextGraph, external_problems, problems, tool_ids
from tertulia.errors import NotFound, Unprocessable
from tertulia.events import VersionInfo
from tertulia.storage import context_graph as store
from tertulia.storage import versioned
from tertulia.storage.context_graph import CONTEXT_GRAPH
from tertulia.storage.database.paging import Sort, Window
from tertulia.storage.versioned import Author, VersionRange

router = contract_router("/organization/service_hierarchical_state_machine", "Organization")


class NewContextGraph(BaseModel):
    state_machine_name: Text256


class CreatedContextGraph(BaseModel):
    id: str


class ContextGraphInstance(BaseModel):
    id: str
    name: str
    deprecated: bool
    latest_version: int | None


class ContextGraphPage(BaseModel):
    service_hierarchical_state_machines: list[ContextGraphInstance]
    has_more: bool
    continuation_token: int | None


class CreatedVersion(BaseModel):
    version: int
    created_at: datetime


class ContextGraphVersion(ContextGraph):
    org_id: str
    service_hierarchical_state_machine_id: str
    version: int
    created_at: datetime
    creator: UserInfo


class ContextGraphVersionPage(BaseModel):
    state_machine_versions: list[ContextGraphVersion]
    has_more: bool
    continuation_token: int | None


@router.post(
    "",
    operation_id="create-service-hierarchical-state-machine",
    status_code=201,
    dependencies=[Depends(rate_limit(10))],
)
async def create_context_graph(
    organization: Organization, actor: CurrentActor, body: NewContextGraph
) -> CreatedContextGraph:
    """Create a context graph, as yet without a version."""
    actor.require(Permission.ORGANIZATION_CREATE_SERVICE_HIERARCHICAL_STATE_MACHINE, {"org_id": organization.org_id})
    graph_id = await organization.database.write(
        versioned.create, CONTEXT_GRAPH, organization.org_id, body.state_machine_name
    )
    return CreatedContextGraph(id=graph_id)


@router.get("", operation_id="get-service-hierarchical-state-machines", dependencies=[Depends(rate_limit(20))])
async def get_context_graphs(
    organization: Organization,
    actor: CurrentActor,
    part: Annotated[Window, Depends(window(default=50, least=0, most=50))],
    deprecated: bool | None = None,
    id: Annotated[set[ObjectId], Query()] = set(),
) -> ContextGraphPage:
    """The context graphs that the caller may see, the oldest first."""
    visible = actor.visible(Permission.ORGANIZATION_GET_SERVICE_HIERARCHICAL_STATE_MACHINE, store.COLUMNS)
    page = await organization.database.read(
        store.list_context_graphs, organization.org_id, visible, deprecated, list(id), part
    )
    return ContextGraphPage(
        service_hierarchical_state_machines=[ContextGraphInstance.model_validate(dict(row)) for row in page.items],
        has_more=page.has_more,
        continuation_token=page.continuation_token,
    )


@router.post(
    "/{service_hierarchical_state_machine_id}/",
    operation_id="create-service-hierarchical-state-machine-version",
    status_code=201,
    response_model=CreatedVersion | None,
    dependencies=[Depends(rate_limit(10))],
)
async def create_context_graph_version(
    organization: Organization,
    actor: CurrentActor,
    service_hierarchical_state_machine_id: ObjectId,
    body: ContextGraph,
    version: Annotated[VersionNumber | None, Query(description="The number that it must get.")] = None,
    dry_run: Annotated[bool, Query(description="Whether to check only.")] = False,
) -> CreatedVersion | Response:
    """Create the next version of a context graph, or with `dry_run` only check whether it could be."""
    org_id, graph_id = organization.org_id, service_hierarchical_state_machine_id
    target = {"org_id": org_id, "service_hierarchical_state_machine_id": graph_id}
    authorize = partial(
        actor.require, Permission.ORGANIZATION_CREATE_SERVICE_HIERARCHICAL_STATE_MACHINE_VERSION, target
    )
    _refuse(problems(body))
    graph, check = body.model_dump(mode="json"), partial(_check_surroundings, body)
    if dry_run:
        await organization.database.read(store.check_version, org_id, graph_id, authorize, graph, check)
        return Response(status_code=201)
    author = Author(actor.org_id, actor.user_id)
    row = await organization.database.write(
        store.create_version, org_id, graph_id, authorize, graph, check, author, version
    )
    return CreatedVersion(version=row["version"], created_at=row["created_at"])


@router.delete(
    "/{state_machine_id}/",
    operation_id="delete-service-hierarchical-state-machine",
    dependencies=[Depends(rate_limit(10))],
)
async def delete_context_graph(organization: Organization, actor: CurrentActor, state_machine_id: ObjectId) -> None:
    """Mark a context graph as deprecated: no new service can use it."""
    target = {"org_id": organization.org_id, "service_hierarchical_state_machine_id": state_machine_id}
    authorize = partial(actor.require, Permission.ORGANIZATION_DELETE_SERVICE_HIERARCHICAL_STATE_MACHINE, target)
    await organization.database.write(
        versioned.deprecate, CONTEXT_GRAPH, organization.org_id, state_machine_id, authorize
    )


@router.get(
    "/{service_hierarchical_state_machine_id}/version",
    operation_id="get-service-hierarchical-state-machine-versions",
    dependencies=[Depends(rate_limit(20))],
)
async def get_context_graph_versions(
    organization: Organization,
    actor: CurrentActor,
    service_hierarchical_state_machine_id: ObjectId,
    wanted: Annotated[VersionRange | None, Depends(version_range)],
    part: Annotated[Window, Depends(window(default=10, most=10))],
    sort: Annotated[Sort, Depends(sorting("version"))],
) -> ContextGraphVersionPage:
    """The versions of a context graph, the first one first unless sorted otherwise."""
    org_id, graph_id = organization.org_id, service_hierarchical_state_machine_id
    target = {"org_id": org_id, "service_hierarchical_state_machine_id": graph_id}
    authorize = partial(actor.require, Permission.ORGANIZATION_GET_SERVICE_HIERARCHICAL_STATE_MACHINE, target)
    page = await organization.database.read(
        versioned.list_versions, CONTEXT_GRAPH, org_id, graph_id, authorize, wanted, sort, part
    )
    return ContextGraphVersionPage(
        state_machine_versions=[ContextGraphVersion.model_validate(_version(row)) for row in page.items],
        has_more=page.has_more,
        continuation_token=page.continuation_token,
    )


def _check_surroundings(graph: ContextGraph, referenced: Mapping[VersionInfo, Mapping[str, Any]]) -> None:
    """Whether what a graph refers to is there: tools, of which there are none yet, and states of other graphs."""
    for _location, tool_id in tool_ids(graph):
        raise NotFound(f"There is no tool {tool_id}.")
    _refuse(external_problems(graph, {info: ContextGraph.model_validate(body) for info, body in referenced.items()}))


def _refuse(found: list[tuple[tuple[str | int, ...], str]]) -> None:
    if found:
        raise Unprocessable.of([(("body", *location), text) for location, text in found])


def _version(row: RowMapping) -> dict[str, Any]:
    creator = {"org_id": row["creator_org_id"], "user_id": row["creator_user_id"]}
    return {
        **row["body"],
        "org_id": row["org_id"],
        "service_hierarchical_state_machine_id": row["context_graph_id"],
        "version": row["version"],
        "created_at": row["created_at"],
        "creator": creator,
    }
