"""Roles of an organization. The meaning of their grants is the business of auth."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.errors import NotFound
from tertulia.ids import new_id
from tertulia.storage.database.rows import columns, find_row
from tertulia.storage.tables import roles


@dataclass(frozen=True, slots=True)
class Role:
    """A role; `permission_grants` is its document, as auth.grants parses it."""

    id: str
    org_id: str
    name: str
    permission_grants: object


_BY_NAME = sa.select(*columns(Role, roles)).where(
    roles.c.org_id == bindparam("org_id"), roles.c.name == bindparam("name")
)


def find_role(connection: Connection, org_id: str, name: str) -> Role | None:
    """Look for a role by its name. Return its row, or None."""
    return find_row(connection, _BY_NAME, Role, {"org_id": org_id, "name": name})


def get_role(connection: Connection, org_id: str, name: str) -> Role:
    """Fetch a role by its name. Return its row, or raise NotFound."""
    role = find_role(connection, org_id, name)
    if role is None:
        raise NotFound(f"There is no role {name}.")
    return role


def put_role(connection: Connection, org_id: str, name: str, document: Mapping[str, Any]) -> str:
    """Insert a role, or change the one of that name. Return its id.

    `document` has `description`, `permission_grants` (as JSON) and `frontend_view`.
    """
    existing = find_role(connection, org_id, name)
    if existing is not None:
        connection.execute(sa.update(roles).where(roles.c.id == existing.id).values(**document))
        return existing.id
    role_id = new_id()
    row = {"id": role_id, "org_id": org_id, "name": name, "created_at": clock.now(), **document}
    connection.execute(sa.insert(roles), row)
    return role_id
