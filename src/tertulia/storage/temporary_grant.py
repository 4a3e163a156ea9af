"""Temporary grants: what a user may do for some time beyond what their role allows."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.errors import Conflict
from tertulia.storage.database.paging import Page, Sort, Window, fetch_page, ordering
from tertulia.storage.database.rows import columns, list_rows
from tertulia.storage.database.shapes import among, padded
from tertulia.storage.database.tags import tag_conditions
from tertulia.storage.tables import temporary_grants, users

MOST_AT_ONCE = 100
"""Temporary grants that a user has at once."""


@dataclass(frozen=True, slots=True)
class TemporaryGrant:
    """A grant of a user until a time."""

    id: str
    org_id: str
    user_id: str
    permission_name: str
    conditions: Mapping[str, Any]
    justification: str
    tags: Mapping[str, str | None]
    creator_org_id: str
    creator_user_id: str
    created_at: datetime
    updated_at: datetime
    expires_at: datetime

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes that a permission's conditions can name; `COLUMNS` has the same ones."""
        return {"org_id": self.org_id, "user_id": self.user_id, "permission_name": self.permission_name}


COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "org_id": temporary_grants.c.org_id,
    "user_id": temporary_grants.c.user_id,
    "permission_name": temporary_grants.c.permission_name,
}
"""The attributes of a temporary grant, as columns."""

SORTABLE: Mapping[str, ColumnElement[Any]] = {
    "user_id": temporary_grants.c.user_id,
    "expires_at": temporary_grants.c.expires_at,
    "permission_grant.permission_name": temporary_grants.c.permission_name,
}


@dataclass(frozen=True, slots=True)
class TemporaryGrantFilter:
    """A filter of temporary grants; an empty field, or None, narrows nothing."""

    id: Sequence[str] = ()
    user_id: Sequence[str] = ()
    permission_name: str | None = None
    is_expired: bool | None = None
    creator: Sequence[tuple[str, str]] = ()
    tag: Sequence[tuple[str, str]] = ()


def insert_temporary_grant(connection: Connection, grant: TemporaryGrant) -> None:
    """Insert a grant of a user whom this transaction has locked.

    Raises:
        Conflict: the user has as many as one may have at once.
    """
    table = temporary_grants.c
    theirs = sa.select(sa.func.count(), sa.func.max(table.expires_at)).where(
        table.user_id == grant.user_id, table.expires_at > clock.now()
    )
    count, last = connection.execute(theirs).one()
    if count >= MOST_AT_ONCE:
        raise Conflict(f"A user has at most {MOST_AT_ONCE} temporary grants at once.")
    connection.execute(sa.insert(temporary_grants), asdict(grant))
    until = max(last or grant.expires_at, grant.expires_at)
    connection.execute(sa.update(users).where(users.c.id == grant.user_id).values(granted_until=until))


def list_grants_of(connection: Connection, user_id: str) -> Sequence[TemporaryGrant]:
    """Fetch the grants of a user that have not ended. Return their rows."""
    table = temporary_grants.c
    query = sa.select(*columns(TemporaryGrant, temporary_grants))
    return list_rows(connection, query.where(table.user_id == user_id, table.expires_at > clock.now()), TemporaryGrant)


def list_temporary_grants(
    connection: Connection,
    org_id: str,
    visible: ColumnElement[bool],
    narrow: TemporaryGrantFilter,
    sort: Sort,
    window: Window,
) -> Page[TemporaryGrant]:
    """Fetch a page of grants, the newest first unless sorted otherwise. Return those that are `visible`."""
    table = temporary_grants.c
    query = sa.select(*columns(TemporaryGrant, temporary_grants)).where(table.org_id == org_id, visible)
    query = query.where(*_conditions(narrow), *tag_conditions(table.tags, narrow.tag))
    ordered = query.order_by(*ordering(sort, SORTABLE, table.created_at.desc(), table.id.desc()))
    return fetch_page(connection, ordered, window, TemporaryGrant)


def _conditions(narrow: TemporaryGrantFilter) -> list[ColumnElement[bool]]:
    table = temporary_grants.c
    conditions: list[ColumnElement[bool]] = []
    if narrow.id:
        conditions.append(among(table.id, narrow.id))
    if narrow.user_id:
        conditions.append(among(table.user_id, narrow.user_id))
    if narrow.permission_name is not None:
        conditions.append(table.permission_name == narrow.permission_name)
    if narrow.is_expired is not None:
        now = clock.now()
        conditions.append(table.expires_at <= now if narrow.is_expired else table.expires_at > now)
    if narrow.creator:
        made = [
            sa.and_(table.creator_org_id == org_id, table.creator_user_id == user_id)
            for org_id, user_id in padded(narrow.creator)
        ]
        conditions.append(sa.or_(*made))
    return conditions
