"""Usage: the bytes of what was said, text and sound, and of the code of tools, that an organization and a user hold.

A user's bytes are in the user's row, which every turn changes anyhow. An organization's bytes are spread over eight
shards, and each user or tool is counted in one of them, so that turns of many users do not wait for one row. A unit
locks the shard last, after the user or the tool.
"""

import zlib
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from tertulia.errors import StorageFull
from tertulia.storage.database.prepared import Prepared
from tertulia.storage.tables import organization_usage, users

SHARDS = 8


@dataclass(frozen=True, slots=True)
class Quotas:
    """The most bytes that there may be; 0: there is no bound."""

    of_user: int = 0
    of_organization: int = 0

    @property
    def are_set(self) -> bool:
        """True if there is a bound."""
        return bool(self.of_user or self.of_organization)


def insert_usage(connection: Connection, org_id: str) -> None:
    """Insert the shards of a new organization."""
    rows = [{"org_id": org_id, "shard": shard, "stored_bytes": 0} for shard in range(SHARDS)]
    connection.execute(sa.insert(organization_usage), rows)


ADD = (
    sa.update(organization_usage)
    .where(organization_usage.c.org_id == bindparam("b_org_id"), organization_usage.c.shard == bindparam("b_shard"))
    .values(stored_bytes=organization_usage.c.stored_bytes + bindparam("b_bytes"))
)
"""Bytes in the count of an organization; `addition` gives its parameters."""

_ADD = Prepared(ADD)
_OF_USER = Prepared(sa.select(users.c.stored_bytes).where(users.c.id == bindparam("user_id")))
_OF_ORGANIZATION = Prepared(
    sa.select(sa.func.sum(organization_usage.c.stored_bytes).label("stored_bytes")).where(
        organization_usage.c.org_id == bindparam("org_id")
    )
)


def add_to_organization(connection: Connection, org_id: str, owner_id: str, stored_bytes: int) -> None:
    """Count bytes of a user or a tool for their organization; negative ones give room back."""
    _ADD.run(connection, addition(org_id, owner_id, stored_bytes))


def addition(org_id: str, owner_id: str, stored_bytes: int) -> dict[str, Any]:
    """Return the parameters of `ADD` for bytes of a user or a tool."""
    return {"b_org_id": org_id, "b_shard": shard_of(owner_id), "b_bytes": stored_bytes}


def shard_of(owner_id: str) -> int:
    """Return the number of the shard in which a user or a tool is counted."""
    return zlib.crc32(owner_id.encode()) % SHARDS


def give_back_all(connection: Connection, org_id: str, user_id: str) -> None:
    """Take the bytes of a user, who is locked and about to be removed, off the organization's count."""
    row = _OF_USER.first(connection, {"user_id": user_id})
    if row is not None:
        add_to_organization(connection, org_id, user_id, -row["stored_bytes"])


def refuse_when_full(connection: Connection, quotas: Quotas, org_id: str, user_id: str) -> None:
    """Refuse a turn for which there is no room.

    Raises:
        StorageFull: the user's conversations, or all that is the organization's, hold as much as they may.
    """
    if quotas.of_user:
        row = _OF_USER.first(connection, {"user_id": user_id})
        _compare("conversations of the user", row["stored_bytes"] if row else 0, quotas.of_user)
    refuse_when_organization_full(connection, quotas, org_id)


def refuse_when_organization_full(connection: Connection, quotas: Quotas, org_id: str) -> None:
    """Refuse to store more for an organization that has used its quota up, such as the code of a tool.

    Raises:
        StorageFull: the organization holds as much as it may.
    """
    if quotas.of_organization:
        row = _OF_ORGANIZATION.first(connection, {"org_id": org_id})
        stored = int(row["stored_bytes"] or 0) if row else 0
        _compare("conversations and tools of the organization", stored, quotas.of_organization)


def _compare(what: str, stored: int, most: int) -> None:
    if stored >= most:
        raise StorageFull(f"The {what} hold {stored} bytes, and {most} is the most they may.")
