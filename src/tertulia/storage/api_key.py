"""API keys of an organization. Of each, only a hash is stored."""

from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.ids import new_id
from tertulia.storage.database.rows import columns, find_row
from tertulia.storage.tables import api_keys, roles


@dataclass(frozen=True, slots=True)
class NewApiKey:
    """A key about to be stored; auth/api_keys.py makes them."""

    org_id: str
    key_id: str
    key_hash: str
    name: str | None
    role_id: str
    creator_org_id: str
    creator_user_id: str
    expires_at: datetime


def insert_api_key(connection: Connection, key: NewApiKey) -> None:
    """Store a key."""
    now = clock.now()
    connection.execute(sa.insert(api_keys), {"id": new_id(), "created_at": now, "updated_at": now, **asdict(key)})


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored, with the document of its role's grants."""

    key_id: str
    key_hash: str
    expires_at: datetime
    permission_grants: object


_BY_KEY_ID = (
    sa.select(*columns(ApiKey, api_keys, permission_grants=roles.c.permission_grants))
    .join(roles, roles.c.id == api_keys.c.role_id)
    .where(api_keys.c.org_id == bindparam("org_id"), api_keys.c.key_id == bindparam("key_id"))
)


def find_api_key(connection: Connection, org_id: str, key_id: str) -> ApiKey | None:
    """Look for a key of an organization. Return its row, or None."""
    return find_row(connection, _BY_KEY_ID, ApiKey, {"org_id": org_id, "key_id": key_id})


def prune_api_keys(connection: Connection, org_id: str, name: str, kept: int) -> None:
    """Remove the expired keys of an organization, and all but the `kept` newest of this name."""
    named = sa.and_(api_keys.c.org_id == org_id, api_keys.c.name == name)
    newest = sa.select(api_keys.c.id).where(named).order_by(api_keys.c.created_at.desc()).limit(kept)
    superfluous = sa.and_(named, api_keys.c.id.not_in(connection.execute(newest).scalars().all()))
    expired = sa.and_(api_keys.c.org_id == org_id, api_keys.c.expires_at <= clock.now())
    connection.execute(sa.delete(api_keys).where(sa.or_(superfluous, expired)))
