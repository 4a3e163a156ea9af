"""Organizations: the tenants of an installation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.errors import NotFound
from tertulia.storage.database.rows import columns, find_row, list_rows
from tertulia.storage.database.shapes import among
from tertulia.storage.tables import organizations
from tertulia.storage.usage import insert_usage

DEFAULT_PREFERENCES: Mapping[str, Any] = {
    "enable_response_recommendation": False,
    "preferred_language": None,
    "conversations_visible_to_admins": True,
    "user_model_visible_to_admins": True,
    "timezone": None,
    "audio_keyterms": [],
}
"""The preferences of users if neither they nor their organization say."""


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization, and the preferences that its new users begin with."""

    org_id: str
    name: str
    tenant_id: str
    default_user_preferences: Mapping[str, Any]
    user_dimensions: Sequence[Mapping[str, Any]] | None
    """The matters that models of users tell, each with `description` and `tags`; None: nothing."""

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes that a permission's conditions can name."""
        return {"org_id": self.org_id}


def insert_organization(
    connection: Connection,
    org_id: str,
    name: str,
    tenant_id: str | None = None,
    preferences: Mapping[str, Any] = DEFAULT_PREFERENCES,
    dimensions: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Insert an organization; `preferences` are the ones its new users begin with.

    `dimensions` are what models of its users are to say.
    """
    row = {
        "org_id": org_id,
        "name": name,
        "tenant_id": tenant_id or org_id,
        "default_user_preferences": {**DEFAULT_PREFERENCES, **preferences},
        "user_dimensions": list(dimensions),
        "created_at": clock.now(),
    }
    connection.execute(sa.insert(organizations), row)
    insert_usage(connection, org_id)


def find_organization(connection: Connection, org_id: str) -> Organization | None:
    """Look for an organization in this cluster. Return its row, or None if there is none or it has been deleted."""
    this = organizations.c.org_id == org_id, organizations.c.deleted_at.is_(None)
    query = sa.select(*columns(Organization, organizations)).where(*this)
    return find_row(connection, query, Organization)


def is_taken(connection: Connection, org_id: str) -> bool:
    """Return True if there is an organization of this identifier, or the rest of a deleted one."""
    query = sa.select(organizations.c.org_id).where(organizations.c.org_id == org_id)
    return connection.execute(query).first() is not None


def list_organizations(connection: Connection) -> Sequence[Organization]:
    """Fetch the organizations of this cluster, the oldest first. Return their rows."""
    query = sa.select(*columns(Organization, organizations)).where(organizations.c.deleted_at.is_(None))
    return list_rows(connection, query.order_by(organizations.c.created_at, organizations.c.org_id), Organization)


def list_existing(connection: Connection, org_ids: Sequence[str]) -> set[str]:
    """Look for organizations of this cluster. Return those of the identifiers that there are."""
    these = among(organizations.c.org_id, org_ids), organizations.c.deleted_at.is_(None)
    return set(connection.execute(sa.select(organizations.c.org_id).where(*these)).scalars())


def get_organization(connection: Connection, org_id: str) -> Organization:
    """Fetch an organization of this cluster. Return its row, or raise NotFound."""
    organization = find_organization(connection, org_id)
    if organization is None:
        raise NotFound(f"There is no organization {org_id}.")
    return organization


def lock_organization(connection: Connection, org_id: str) -> Organization:
    """Fetch an organization that nobody else changes before this transaction ends. Return it, or raise NotFound."""
    connection.execute(sa.select(organizations.c.org_id).where(organizations.c.org_id == org_id).with_for_update())
    return get_organization(connection, org_id)


def update_organization(connection: Connection, changed: Organization) -> None:
    """Write the preferences and the dimensions of an organization that this transaction has locked."""
    values = {
        "default_user_preferences": dict(changed.default_user_preferences),
        "user_dimensions": list(changed.user_dimensions or ()),
    }
    connection.execute(sa.update(organizations).where(organizations.c.org_id == changed.org_id).values(values))
