"""API keys of an organization. Of each, only a hash is stored."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, bindparam
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.errors import NotFound
from tertulia.ids import new_id
from tertulia.storage.database.prepared import PreparedSelect
from tertulia.storage.database.rows import columns, find_row, list_rows
from tertulia.storage.database.shapes import among
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
    role_id: str
    permission_grants: object


_BY_KEY_ID = PreparedSelect(
    ApiKey,
    sa.select(*columns(ApiKey, api_keys, permission_grants=roles.c.permission_grants))
    .join(roles, roles.c.id == api_keys.c.role_id)
    .where(api_keys.c.org_id == bindparam("org_id"), api_keys.c.key_id == bindparam("key_id")),
)


def find_api_key(connection: Connection, org_id: str, key_id: str) -> ApiKey | None:
    """Look for a key of an organization. Return its row, or None."""
    return _BY_KEY_ID.first(connection, {"org_id": org_id, "key_id": key_id})


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key as lists show it."""

    id: str
    org_id: str
    key_id: str
    name: str | None
    role_id: str
    role_name: str
    creator_org_id: str
    creator_user_id: str
    created_at: datetime
    updated_at: datetime
    expires_at: datetime

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes that a permission's conditions can name; `COLUMNS` has the same ones."""
        return {"org_id": self.org_id, "api_key_id": self.key_id, "role_name": self.role_name}


COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "org_id": api_keys.c.org_id,
    "api_key_id": api_keys.c.key_id,
    "role_name": roles.c.name,
}
"""The attributes of a key, as columns."""

_KEYS = sa.select(*columns(ListedKey, api_keys, role_name=roles.c.name)).join(roles, roles.c.id == api_keys.c.role_id)


def list_api_keys(connection: Connection, org_id: str, visible: ColumnElement[bool]) -> Sequence[ListedKey]:
    """Fetch the keys of an organization, the oldest first. Return those that are `visible`."""
    query = _KEYS.where(api_keys.c.org_id == org_id, visible).order_by(api_keys.c.created_at, api_keys.c.id)
    return list_rows(connection, query, ListedKey)


def get_api_key(connection: Connection, org_id: str, key_id: str) -> ListedKey:
    """Fetch a key. Return its row, or raise NotFound."""
    query = _KEYS.where(api_keys.c.org_id == org_id, api_keys.c.key_id == key_id)
    found = find_row(connection, query, ListedKey)
    if found is None:
        raise NotFound(f"There is no API key {key_id}.")
    return found


def delete_api_key(connection: Connection, key: ListedKey) -> None:
    """Remove a key, and so void its tokens. Raise NotFound if somebody else has."""
    gone = connection.execute(sa.delete(api_keys).where(api_keys.c.id == key.id))
    if not gone.rowcount:
        raise NotFound(f"There is no API key {key.key_id}.")


def count_api_keys(connection: Connection, org_id: str) -> int:
    """Count the keys of an organization that have not ended. Return the number."""
    valid = api_keys.c.org_id == org_id, api_keys.c.expires_at > clock.now()
    return connection.execute(sa.select(sa.func.count()).select_from(api_keys).where(*valid)).scalar_one()


def list_key_roles(connection: Connection, org_id: str, key_ids: Sequence[str]) -> dict[str, str]:
    """Look for the roles of keys of an organization. Return their ids by the key's; keys that are gone are left out."""
    this = api_keys.c.org_id == org_id, among(api_keys.c.key_id, key_ids)
    query = sa.select(api_keys.c.key_id, api_keys.c.role_id).where(*this)
    return {row.key_id: row.role_id for row in connection.execute(query)}


@dataclass(frozen=True, slots=True)
class ExpiringKey:
    """A key that ends soon."""

    id: str
    org_id: str
    key_id: str
    name: str | None
    expires_at: datetime


def list_expiring(connection: Connection, now: datetime, before: timedelta) -> Sequence[ExpiringKey]:
    """Fetch the keys that end within a time, and of which nobody was warned in that time. Return their rows."""
    table = api_keys.c
    soon = table.expires_at > now, table.expires_at <= now + before
    warned_at = sa.func.coalesce(table.warned_at, sa.literal(0, sa.BigInteger))
    since = sa.type_coerce(table.expires_at, sa.BigInteger) - clock.in_microseconds(before)
    query = sa.select(*columns(ExpiringKey, api_keys)).where(*soon, sa.type_coerce(warned_at, sa.BigInteger) < since)
    return list_rows(connection, query.order_by(table.expires_at), ExpiringKey)


def note_warned(connection: Connection, ids: Sequence[str], now: datetime) -> None:
    """Note that people were warned of keys."""
    if ids:
        connection.execute(sa.update(api_keys).where(among(api_keys.c.id, ids)).values(warned_at=now))


def prune_api_keys(connection: Connection, org_id: str, name: str, kept: int) -> None:
    """Remove the expired keys of an organization, and all but the `kept` newest of this name."""
    named = sa.and_(api_keys.c.org_id == org_id, api_keys.c.name == name)
    newest = sa.select(api_keys.c.id).where(named).order_by(api_keys.c.created_at.desc()).limit(kept)
    superfluous = sa.and_(named, api_keys.c.id.not_in(connection.execute(newest).scalars().all()))
    expired = sa.and_(api_keys.c.org_id == org_id, api_keys.c.expires_at <= clock.now())
    connection.execute(sa.delete(api_keys).where(sa.or_(superfluous, expired)))
