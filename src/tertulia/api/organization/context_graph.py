"""Context graphs: the tasks of agents. The wire calls them service hierarchical state machines."""

from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel
from sqlalchemy.engine import Connection

from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization
from tertulia.api.http.pagination import PageModel, sorting, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import ObjectId, Text256, UserInfo, VersionNumber
from tertulia.api.http.versions import CreatedVersion, version_range
from tertulia.api.http.warnings import REPEATS, warn
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.engine.graph.context_graph import ContextGraph
from tertulia.engine.graph.rules import external_problems, problems, tool_ids, warnings
from tertulia.errors import NotFound, Unprocessable
from tertulia.storage import context_graph as context_graphs
from tertulia.storage import tool as tools
from tertulia.storage import versioned
from tertulia.storage.context_graph import CONTEXT_GRAPH
from tertulia.storage.database.paging import Page, Sort, Window
from tertulia.storage.versioned import Version, VersionedFilter, VersionRange

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


class ContextGraphPage(PageModel):
    service_hierarchical_state_machines: list[ContextGraphInstance]


class ContextGraphVersion(ContextGraph):
    org_id: str
    service_hierarchical_state_machine_id: str
    version: int
    created_at: datetime
    creator: UserInfo


class ContextGraphVersionPage(PageModel):
    state_machine_versions: list[ContextGraphVersion]


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
    actor.require(Permission.ORGANIZATION_CREATE_SERVICE_HIERARCHICAL_STATE_MACHINE, organization.attributes)
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
    """List the context graphs that the caller may see, the oldest first."""
    visible = actor.visible(Permission.ORGANIZATION_GET_SERVICE_HIERARCHICAL_STATE_MACHINE, context_graphs.COLUMNS)
    narrow = VersionedFilter(list(id), deprecated)
    page = await organization.database.read(versioned.list_, CONTEXT_GRAPH, organization.org_id, visible, narrow, part)
    return ContextGraphPage.of(page, service_hierarchical_state_machines=[_graph(graph) for graph in page.items])


@router.post(
    "/{service_hierarchical_state_machine_id}/",
    operation_id="create-service-hierarchical-state-machine-version",
    status_code=201,
    response_model=CreatedVersion | None,
    dependencies=[Depends(rate_limit(10))],
)
async def create_context_graph_version(
    request: Request,
    organization: Organization,
    actor: CurrentActor,
    service_hierarchical_state_machine_id: ObjectId,
    body: ContextGraph,
    version: Annotated[VersionNumber | None, Query(description="The number that it must get.")] = None,
    dry_run: Annotated[bool, Query(description="Whether to check only.")] = False,
) -> CreatedVersion | Response:
    """Create the next version of a context graph, or with `dry_run` only check that it could be created."""
    await organization.database.read(_check_version, actor, service_hierarchical_state_machine_id, body)
    for text in warnings(body):
        warn(request, text)
    if dry_run:
        return Response(status_code=201)
    made, repeats = await organization.database.write(
        _create_version, actor, service_hierarchical_state_machine_id, body, version
    )
    if repeats:
        warn(request, REPEATS)
    return CreatedVersion(version=made.number, created_at=made.created_at)


@router.delete(
    "/{state_machine_id}/",
    operation_id="delete-service-hierarchical-state-machine",
    dependencies=[Depends(rate_limit(10))],
)
async def delete_context_graph(organization: Organization, actor: CurrentActor, state_machine_id: ObjectId) -> None:
    """Mark a context graph as deprecated: no new service can use it."""
    await organization.database.write(_delete, actor, state_machine_id)


@router.get(
    "/{service_hierarchical_state_machine_id}/version",
    operation_id="get-service-hierarchical-state-machine-versions",
    response_model=ContextGraphVersionPage,
    dependencies=[Depends(rate_limit(20))],
)
async def get_context_graph_versions(
    runtime: CurrentRuntime,
    organization: Organization,
    actor: CurrentActor,
    service_hierarchical_state_machine_id: ObjectId,
    wanted: Annotated[VersionRange | None, Depends(version_range)],
    part: Annotated[Window, Depends(window(default=10, most=10))],
    sort: Annotated[Sort, Depends(sorting("version"))],
) -> Response:
    """List the versions of a context graph, the first one first unless sorted otherwise."""
    graph_id = service_hierarchical_state_machine_id
    page = await organization.database.read(_list_versions, actor, graph_id, wanted, sort, part)

    def rendered() -> bytes:
        shown = [_version(version) for version in page.items]
        return ContextGraphVersionPage.of(page, state_machine_versions=shown).model_dump_json(by_alias=True).encode()

    # Graphs of a few megabytes, each a tree of small values: too much for a turn of the event loop.
    return Response(await runtime.heavy_thread.run(rendered), media_type="application/json")


# --- Units -----------------------------------------------------------------------------------------------------------


def _create_version(
    connection: Connection, actor: Actor, graph_id: str, body: ContextGraph, expected: int | None
) -> tuple[Version, bool]:
    """Create the next version. Return it, and True if it is the same as the one before."""
    graph = versioned.lock(connection, CONTEXT_GRAPH, actor.org_id, graph_id)
    actor.require(Permission.ORGANIZATION_CREATE_SERVICE_HIERARCHICAL_STATE_MACHINE_VERSION, graph.attributes)
    context_graphs.require_usable(connection, actor.org_id, body.references.values())
    sent = body.model_dump(mode="json")
    latest = versioned.find_version(connection, CONTEXT_GRAPH, graph.org_id, graph.id, graph.latest_version)
    made = versioned.create_version(connection, CONTEXT_GRAPH, graph, sent, actor.author, expected)
    return made, latest is not None and latest.body == sent


def _check_version(connection: Connection, actor: Actor, graph_id: str, body: ContextGraph) -> None:
    """Refuse a graph that breaks a rule. A unit of its own: a check that takes long keeps no writer waiting.

    Raises:
        BadRequest: a version of another graph does not exist, or may not be used.
        NotFound: the graph or a tool does not exist, or the tool is deprecated.
        Unprocessable: the graph breaks a rule by itself, or does not fit the graphs that it refers to.
    """
    graph = versioned.get(connection, CONTEXT_GRAPH, actor.org_id, graph_id)
    actor.require(Permission.ORGANIZATION_CREATE_SERVICE_HIERARCHICAL_STATE_MACHINE_VERSION, graph.attributes)
    _refuse(problems(body))
    context_graphs.require_usable(connection, actor.org_id, body.references.values())
    _refuse_missing_tools(connection, actor.org_id, body)
    bodies = context_graphs.list_bodies(connection, actor.org_id, body.references.values())
    _refuse(external_problems(body, {info: ContextGraph.model_validate(other) for info, other in bodies.items()}))


def _refuse_missing_tools(connection: Connection, org_id: str, body: ContextGraph) -> None:
    named = tool_ids(body)
    missing = tools.list_missing(connection, org_id, (tool_id for _, tool_id in named))
    for state, tool_id in named:
        if tool_id in missing:
            raise NotFound(f"There is no tool {tool_id} in use, which the state {state.name} names.")


def _refuse(found: list[tuple[tuple[str | int, ...], str]]) -> None:
    if found:
        raise Unprocessable.of([(("body", *location), text) for location, text in found])


def _delete(connection: Connection, actor: Actor, graph_id: str) -> None:
    graph = versioned.lock(connection, CONTEXT_GRAPH, actor.org_id, graph_id)
    actor.require(Permission.ORGANIZATION_DELETE_SERVICE_HIERARCHICAL_STATE_MACHINE, graph.attributes)
    versioned.deprecate(connection, CONTEXT_GRAPH, graph)


def _list_versions(
    connection: Connection, actor: Actor, graph_id: str, wanted: VersionRange | None, sort: Sort, part: Window
) -> Page[Version]:
    graph = versioned.get(connection, CONTEXT_GRAPH, actor.org_id, graph_id)
    actor.require(Permission.ORGANIZATION_GET_SERVICE_HIERARCHICAL_STATE_MACHINE, graph.attributes)
    return versioned.list_versions(connection, CONTEXT_GRAPH, graph, wanted, sort, part)


# --- Rendering -------------------------------------------------------------------------------------------------------


def _graph(graph: context_graphs.ContextGraph) -> ContextGraphInstance:
    return ContextGraphInstance(
        id=graph.id, name=graph.name, deprecated=graph.deprecated, latest_version=graph.latest_version
    )


def _version(version: Version) -> ContextGraphVersion:
    return ContextGraphVersion.model_validate(
        {
            **version.body,
            "org_id": version.org_id,
            "service_hierarchical_state_machine_id": version.thing_id,
            "version": version.number,
            "created_at": version.created_at,
            "creator": UserInfo(org_id=version.creator_org_id, user_id=version.creator_user_id),
        }
    )
