"""Roles of an organization. The meaning of their grants is the business of auth."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, bindparam
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from tertulia import clock
from tertulia.errors import Conflict, NotFound
from tertulia.ids import new_id
from tertulia.storage.database.rows import columns, find_row, list_rows
from tertulia.storage.database.shapes import among
from tertulia.storage.tables import api_keys, roles, users

REPLACED_FOR = timedelta(days=1)
"""The time for which a replaced document is kept."""

MOST_ROLES = 1000
"""Roles of an organization: a list has all of them."""


@dataclass(frozen=True, slots=True)
class RoleDocument:
    """The content of a role; `permission_grants` is as auth.grants parses it."""

    description: str
    permission_grants: object
    frontend_view: str


@dataclass(frozen=True, slots=True)
class Role:
    """A role; `permission_grants` is its document, as auth.grants parses it. `updated_at`: None if it never was."""

    id: str
    org_id: str
    name: str
    description: str
    permission_grants: object
    frontend_view: str
    updated_at: datetime | None

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes that a permission's conditions can name; `COLUMNS` has the same ones."""
        return {"org_id": self.org_id, "role_name": self.name}

    @property
    def document(self) -> RoleDocument:
        """The role's content."""
        return RoleDocument(self.description, self.permission_grants, self.frontend_view)


COLUMNS: Mapping[str, ColumnElement[Any]] = {"org_id": roles.c.org_id, "role_name": roles.c.name}
"""The attributes of a role, as columns."""

_ROLES = sa.select(*columns(Role, roles))
_BY_NAME = _ROLES.where(
    roles.c.org_id == bindparam("org_id"), roles.c.name == bindparam("name"), roles.c.expires_at.is_(None)
)


def find_role(connection: Connection, org_id: str, name: str) -> Role | None:
    """Look for a role by its name. Return its row, or None."""
    return find_row(connection, _BY_NAME, Role, {"org_id": org_id, "name": name})


def get_role(connection: Connection, org_id: str, name: str) -> Role:
    """Fetch a role by its name. Return its row, or raise NotFound."""
    return _found(find_role(connection, org_id, name), name)


def find_grants(connection: Connection, role_id: str) -> object:
    """Look for the grants of a role that somebody or a key has, or had a moment ago. Return their document."""
    return connection.execute(sa.select(roles.c.permission_grants).where(roles.c.id == role_id)).scalar_one()


def lock_role(connection: Connection, org_id: str, name: str) -> Role:
    """Fetch a role that nobody else changes or gives before this transaction ends. Return it, or raise NotFound."""
    return _lock(connection, _BY_NAME.with_for_update(), org_id, name)


def hold_role(connection: Connection, org_id: str, name: str) -> Role:
    """Fetch a role to give to somebody: nobody replaces it before this transaction ends. Return it, or raise NotFound.

    A transaction that locks users too does so afterwards, as one that replaces a role does.
    """
    return _lock(connection, _BY_NAME.with_for_update(read=True), org_id, name)


def _lock(connection: Connection, query: sa.Select[Any], org_id: str, name: str) -> Role:
    parameters = {"org_id": org_id, "name": name}
    # PostgreSQL: one that was replaced while we waited is gone from the first answer, and its successor in the second.
    found = find_row(connection, query, Role, parameters) or find_row(connection, query, Role, parameters)
    return _found(found, name)


def _found(role: Role | None, name: str) -> Role:
    if role is None:
        raise NotFound(f"There is no role {name}.")
    return role


def list_roles(
    connection: Connection, org_id: str, visible: ColumnElement[bool], ids: Sequence[str], names: Sequence[str]
) -> Sequence[Role]:
    """Fetch the roles of an organization, the oldest first. Return those that are `visible`; empty filters pass all."""
    query = _ROLES.where(roles.c.org_id == org_id, roles.c.expires_at.is_(None), visible)
    if ids:
        query = query.where(among(roles.c.id, ids))
    if names:
        query = query.where(among(roles.c.name, names))
    return list_rows(connection, query.order_by(roles.c.created_at, roles.c.id), Role)


def insert_role(connection: Connection, org_id: str, name: str, document: RoleDocument) -> str:
    """Insert a role. Return its id.

    Raises:
        Conflict: there is one of that name, or there are as many as there may be.
    """
    taken = f"The organization has a role {name} already."
    if find_role(connection, org_id, name) is not None:
        raise Conflict(taken)
    count = sa.select(sa.func.count()).where(roles.c.org_id == org_id, roles.c.expires_at.is_(None))
    if connection.execute(count).scalar_one() >= MOST_ROLES:
        raise Conflict(f"An organization has at most {MOST_ROLES} roles.")
    try:
        return _insert(connection, org_id, name, document)
    except IntegrityError as error:  # somebody else was faster
        raise Conflict(taken) from error


def put_role(connection: Connection, org_id: str, name: str, document: RoleDocument) -> str:
    """Insert a role, or bring the one of that name up to date unless somebody has changed it. Return its id."""
    existing = find_role(connection, org_id, name)
    if existing is None:
        return _insert(connection, org_id, name, document)
    if existing.updated_at is None and existing.document != document:
        connection.execute(sa.update(roles).where(roles.c.id == existing.id).values(asdict(document)))
    return existing.id


def describe_role(connection: Connection, role: Role, description: str) -> None:
    """Give a role that this transaction has locked another description."""
    changed = sa.update(roles).where(roles.c.id == role.id)
    connection.execute(changed.values(description=description, updated_at=clock.now()))


def replace_role(connection: Connection, role: Role, document: RoleDocument) -> str:
    """Put another document in the place of a role that this transaction has locked. Return the new id.

    Users and API keys get the new one. Of the old one, the name is one that no role can have.
    """
    now = clock.now()
    retired = {"name": f"/{role.id}", "expires_at": now + REPLACED_FOR}
    connection.execute(sa.update(roles).where(roles.c.id == role.id).values(retired))
    role_id = _insert(connection, role.org_id, role.name, document, now)
    for table in (users, api_keys):
        connection.execute(sa.update(table).where(table.c.role_id == role.id).values(role_id=role_id))
    return role_id


def purge_roles(connection: Connection) -> None:
    """Remove the replaced documents that are past their time."""
    used = [sa.exists().where(table.c.role_id == roles.c.id) for table in (users, api_keys)]
    connection.execute(sa.delete(roles).where(roles.c.expires_at <= clock.now(), *(~found for found in used)))


def _insert(
    connection: Connection, org_id: str, name: str, document: RoleDocument, updated_at: datetime | None = None
) -> str:
    role_id = new_id()
    row = {"id": role_id, "org_id": org_id, "name": name, "created_at": clock.now(), "updated_at": updated_at}
    connection.execute(sa.insert(roles), {**row, **asdict(document)})
    return role_id
