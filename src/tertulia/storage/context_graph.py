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


def get_usable_bodies(
    connection: Connection, org_id: str, infos: Iterable[VersionInfo]
) -> dict[VersionInfo, Mapping[str, Any]]:
    """Fetch the bodies of graphs' versions that a new version may refer to. Return them by graph and number.

    Raises:
        BadRequest: a version does not exist, or its graph is deprecated.
    """
    bodies: dict[VersionInfo, Mapping[str, Any]] = {}
    for graph_id, number in sorted(set(infos)):
        query = sa.select(context_graphs.c.deprecated).where(
            context_graphs.c.id == graph_id, context_graphs.c.org_id == org_id
        )
        deprecated = connection.execute(query).scalar()
        version = versioned.find_version(connection, CONTEXT_GRAPH, org_id, graph_id, number)
        if version is None:
            raise BadRequest(f"There is no version {number} of the context graph {graph_id}.")
        if deprecated:
            raise BadRequest(f"The context graph {graph_id} is deprecated.")
        bodies[graph_id, number] = version.body
    return bodies


def list_bodies(
    connection: Connection, org_id: str, roots: Iterable[VersionInfo]
) -> dict[VersionInfo, Mapping[str, Any]]:
    """Fetch the bodies of graphs' versions and of all that they refer to, directly or not. Return those that exist."""
    bodies: dict[VersionInfo, Mapping[str, Any]] = {}
    waiting = set(roots)
    while waiting:
        info = waiting.pop()
        version = versioned.find_version(connection, CONTEXT_GRAPH, org_id, *info)
        if version is not None:
            bodies[info] = version.body
            waiting |= {(target, number) for target, number in version.body["references"].values()} - bodies.keys()
    return bodies
