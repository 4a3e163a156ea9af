"""Roles of an organization. What their grants mean is auth's business."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection, RowMapping

from tertulia import clock
from tertulia.errors import NotFound
from tertulia.ids import new_id
from tertulia.storage.tables import roles

_BY_NAME = sa.select(roles).where(roles.c.org_id == bindparam("org_id"), roles.c.name == bindparam("name"))


def find_role(connection: Connection, org_id: str, name: str) -> RowMapping | None:
    """A role by its name."""
    return connection.execute(_BY_NAME, {"org_id": org_id, "name": name}).mappings().first()


def get_role(connection: Connection, org_id: str, name: str) -> RowMapping:
    """A role by its name.

    Raises:
        NotFound: there is none.
    """
    row = find_role(connection, org_id, name)
    if row is None:
        raise NotFound(f"There is no role {name}.")
    return row


def put_role(connection: Connection, org_id: str, name: str, document: Mapping[str, Any]) -> str:
    """Insert a role, or change the one of that name; its id.

    `document` has `description`, `permission_grants` (as JSON) and `frontend_view`.
    """
    existing = find_role(connection, org_id, name)
    if existing is not None:
        connection.execute(sa.update(roles).where(roles.c.id == existing["id"]).values(**document))
        return existing["id"]
    role_id = new_id()
    row = {"id": role_id, "org_id": org_id, "name": name, "created_at": clock.now(), **document}
    connection.execute(sa.insert(roles), row)
    return role_id
