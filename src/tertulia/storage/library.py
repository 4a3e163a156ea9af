"""The immutable versions of agents and context graphs that turns read."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Table
from sqlalchemy.engine import Connection

from tertulia.errors import NotFound
from tertulia.events import VersionInfo
from tertulia.storage.tables import agent_versions, context_graph_versions


def get_agent_body(connection: Connection, version: VersionInfo) -> dict[str, Any]:
    """Read the body of a version of an agent. Return it. Raises NotFound."""
    return _body(connection, agent_versions, "agent_id", version)


def get_context_graph_body(connection: Connection, version: VersionInfo) -> dict[str, Any]:
    """Read the body of a version of a context graph. Return it. Raises NotFound."""
    return _body(connection, context_graph_versions, "context_graph_id", version)


def _body(connection: Connection, table: Table, key: str, version: VersionInfo) -> dict[str, Any]:
    query = sa.select(table.c.body).where(table.c[key] == version[0], table.c.version == version[1])
    body = connection.execute(query).scalar_one_or_none()
    if body is None:
        raise NotFound(f"There is no version {version[1]} of {version[0]}.")
    return body
