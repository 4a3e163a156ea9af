"""Context graphs: their rows, and what they refer to. Their other queries are those of versioned.py."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from tertulia.errors import BadRequest
from tertulia.events import VersionInfo
from tertulia.storage import versioned
from tertulia.storage.tables import context_graph_versions, context_graphs, services
from tertulia.storage.versioned import Kind, Versioned


@dataclass(frozen=True, slots=True)
class ContextGraph(Versioned):
    """A context graph: a name, and what its versions say."""

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes that a permission's conditions can name; `COLUMNS` has the same ones."""
        return {"org_id": self.org_id, "service_hierarchical_state_machine_id": self.id}


COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "org_id": context_graphs.c.org_id,
    "service_hierarchical_state_machine_id": context_graphs.c.id,
}
"""The attributes of a context graph, as columns."""

CONTEXT_GRAPH = Kind(
    "context graph",
    ContextGraph,
    context_graphs,
    context_graph_versions,
    context_graph_versions.c.context_graph_id,
    services.c.context_graph_id,
)


MOST_REFERENCED = 100
"""Versions that a graph refers to, directly or not: a turn reads them all."""


def require_usable(connection: Connection, org_id: str, infos: Iterable[VersionInfo]) -> None:
    """Refuse graphs' versions that a new version may not refer to.

    Raises:
        BadRequest: a version does not exist, or its graph is deprecated.
    """
    for graph_id, number in sorted(set(infos)):
        query = sa.select(context_graphs.c.deprecated).where(
            context_graphs.c.id == graph_id, context_graphs.c.org_id == org_id
        )
        deprecated = connection.execute(query).scalar()
        if versioned.find_version(connection, CONTEXT_GRAPH, org_id, graph_id, number) is None:
            raise BadRequest(f"There is no version {number} of the context graph {graph_id}.")
        if deprecated:
            raise BadRequest(f"The context graph {graph_id} is deprecated.")


def list_bodies(
    connection: Connection, org_id: str, roots: Iterable[VersionInfo]
) -> dict[VersionInfo, Mapping[str, Any]]:
    """Fetch the bodies of graphs' versions and of all that they refer to, directly or not. Return those that exist.

    Raises:
        BadRequest: there are more than a turn should have to read.
    """
    bodies: dict[VersionInfo, Mapping[str, Any]] = {}
    waiting = set(roots)
    most = len(waiting) + MOST_REFERENCED
    while waiting:
        if len(bodies) >= most:
            raise BadRequest(f"A context graph refers to at most {MOST_REFERENCED} versions, directly or not.")
        info = waiting.pop()
        version = versioned.find_version(connection, CONTEXT_GRAPH, org_id, *info)
        if version is not None:
            bodies[info] = version.body
            waiting |= {(target, number) for target, number in version.body["references"].values()} - bodies.keys()
    return bodies
