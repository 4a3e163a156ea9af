"""Agents and their versions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy.engine import Connection, RowMapping
from sqlalchemy.sql.elements import ColumnElement

from tertulia.errors import BadRequest
from tertulia.storage import versioned
from tertulia.storage.database.paging import Page, Window
from tertulia.storage.tables import agent_versions, agents, services
from tertulia.storage.versioned import Author, Kind

AGENT = Kind("agent", agents, agent_versions, agent_versions.c.agent_id, services.c.agent_id)

COLUMNS: Mapping[str, ColumnElement[Any]] = {"org_id": agents.c.org_id, "agent_id": agents.c.id}
"""The attributes of an agent that a permission's conditions can name."""


def list_agents(
    connection: Connection,
    org_id: str,
    visible: ColumnElement[bool],
    deprecated: bool | None,
    ids: Sequence[str],
    window: Window,
) -> Page[RowMapping]:
    """Agents, the oldest first."""
    conditions = [visible]
    if deprecated is not None:
        conditions.append(agents.c.deprecated.is_(deprecated))
    if ids:
        conditions.append(agents.c.id.in_(ids))
    return versioned.list_(connection, AGENT, org_id, window, *conditions)


def create_agent_version(
    connection: Connection,
    org_id: str,
    agent_id: str,
    authorize: Callable[[], None],
    changes: Mapping[str, Any],
    required: Sequence[str],
    author: Author,
    expected: int | None,
) -> RowMapping:
    """A version that has the latest one's fields where `changes` has none.

    Raises:
        NotFound, Forbidden.
        BadRequest: it is the first one and lacks a required field.
        Conflict: its number would not be the expected one.
    """
    agent = versioned.lock(connection, AGENT, org_id, agent_id)
    authorize()
    latest = versioned.find_version(connection, AGENT, org_id, agent_id, agent["latest_version"])
    body: Mapping[str, Any] = changes if latest is None else {**latest["body"], **changes}
    missing = [field for field in required if field not in body]
    if missing:
        raise BadRequest(f"The first version of an agent needs every field; missing: {', '.join(missing)}.")
    return versioned.create_version(connection, AGENT, agent, body, author, expected)
