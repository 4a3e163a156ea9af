"""Organizations: the tenants of an installation."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from tertulia import clock
from tertulia.errors import NotFound
from tertulia.storage.tables import organizations

DEFAULT_PREFERENCES: Mapping[str, Any] = {
    "enable_response_recommendation": False,
    "preferred_language": None,
    "conversations_visible_to_admins": True,
    "user_model_visible_to_admins": True,
    "timezone": None,
    "audio_keyterms": [],
}
"""What users prefer where neither they nor their organization say."""


def insert_organization(
    connection: Connection,
    org_id: str,
    name: str,
    tenant_id: str | None = None,
    preferences: Mapping[str, Any] = DEFAULT_PREFERENCES,
) -> None:
    """Insert an organization; `preferences` are the ones its new users begin with."""
    row = {
        "org_id": org_id,
        "name": name,
        "tenant_id": tenant_id or org_id,
        "default_user_preferences": {**DEFAULT_PREFERENCES, **preferences},
        "created_at": clock.now(),
    }
    connection.execute(sa.insert(organizations), row)


def find_organization(connection: Connection, org_id: str) -> RowMapping | None:
    """An organization of this cluster."""
    query = sa.select(organizations).where(organizations.c.org_id == org_id)
    return connection.execute(query).mappings().first()


def get_organization(connection: Connection, org_id: str) -> RowMapping:
    """An organization of this cluster.

    Raises:
        NotFound: there is none.
    """
    row = find_organization(connection, org_id)
    if row is None:
        raise NotFound(f"There is no organization {org_id}.")
    return row
