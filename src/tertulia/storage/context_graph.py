"""Context graphs and their versions."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping
from sqlalchemy.sql.elements import ColumnElement

from tertulia.errors import BadRequest
from tertulia.events import VersionInfo
from tertulia.storage import versioned
from tertulia.storage.database.paging import Page, Window
from tertulia.storage.tables import context_graph_versions, context_graphs, services
from tertulia.storage.versioned import Author, Kind

CONTEXT_GRAPH = Kind(
    "context graph",
    context_graphs,
    context_graph_versions,
    context_graph_versions.c.context_graph_id,
    services.c.context_graph_id,
)

COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "org_id": context_graphs.c.org_id,
    "service_hierarchical_state_machine_id": context_graphs.c.id,
}
"""The attributes of a context graph that a permission's conditions can name."""

Check = Callable[[Mapping[VersionInfo, Mapping[str, Any]]], None]
"""Raises when a graph does not fit the bodies of those that it refers to."""


def list_context_graphs(
    connection: Connection,
    org_id: str,
    visible: ColumnElement[bool],
    deprecated: bool | None,
    ids: Sequence[str],
    window: Window,
) -> Page[RowMapping]:
    """Context graphs, the oldest first."""
    conditions = [visible]
    if deprecated is not None:
        conditions.append(context_graphs.c.deprecated.is_(deprecated))
    if ids:
        conditions.append(context_graphs.c.id.in_(ids))
    return versioned.list_(connection, CONTEXT_GRAPH, org_id, window, *conditions)


def check_version(
    connection: Connection,
    org_id: str,
    graph_id: str,
    authorize: Callable[[], None],
    body: Mapping[str, Any],
    check: Check,
) -> RowMapping:
    """Whether a body could be a graph's next version: the graph, locked where this transaction writes.

    Raises:
        NotFound, Forbidden; what `check` raises.
        BadRequest: it refers to a version that does not exist, or to a deprecated graph.
    """
    graph = versioned.lock(connection, CONTEXT_GRAPH, org_id, graph_id)
    authorize()
    check(_referenced(connection, org_id, [(target, number) for target, number in body["references"].values()]))
    return graph


def create_version(
    connection: Connection,
    org_id: str,
    graph_id: str,
    authorize: Callable[[], None],
    body: Mapping[str, Any],
    check: Check,
    author: Author,
    expected: int | None,
) -> RowMapping:
    """The next version of a graph.

    Raises what `check_version` does, and Conflict: its number would not be the expected one.
    """
    graph = check_version(connection, org_id, graph_id, authorize, body, check)
    return versioned.create_version(connection, CONTEXT_GRAPH, graph, body, author, expected)


def list_bodies(connection: Connection, org_id: str, roots: Iterable[VersionInfo]) -> dict[VersionInfo, dict[str, Any]]:
    """The bodies of graphs' versions and of all that they refer to, directly or not, as far as they exist."""
    bodies: dict[VersionInfo, dict[str, Any]] = {}
    waiting = set(roots)
    while waiting:
        info = waiting.pop()
        row = versioned.find_version(connection, CONTEXT_GRAPH, org_id, *info)
        if row is not None:
            bodies[info] = row["body"]
            waiting |= {(target, number) for target, number in row["body"]["references"].values()} - bodies.keys()
    return bodies


def _referenced(
    connection: Connection, org_id: str, infos: Iterable[VersionInfo]
) -> dict[VersionInfo, Mapping[str, Any]]:
    bodies: dict[VersionInfo, Mapping[str, Any]] = {}
    for graph_id, number in sorted(set(infos)):
        query = sa.select(context_graphs.c.deprecated).where(
            context_graphs.c.id == graph_id, context_graphs.c.org_id == org_id
        )
        deprecated = connection.execute(query).scalar()
        row = versioned.find_version(connection, CONTEXT_GRAPH, org_id, graph_id, number)
        if row is None:
            raise BadRequest(f"There is no version {number} of the context graph {graph_id}.")
        if deprecated:
            raise BadRequest(f"The context graph {graph_id} is deprecated.")
        bodies[(graph_id, number)] = row["body"]
    return bodies
