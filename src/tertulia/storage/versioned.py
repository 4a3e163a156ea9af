"""What agents and context graphs have in common: a name, numbered versions that never change, and no deletion.

The functions take a `Kind`; agent.py and context_graph.py give theirs. What is deleted is only marked as deprecated.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Table
from sqlalchemy.engine import Connection, RowMapping
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from tertulia import clock
from tertulia.errors import BadRequest, Conflict, NotFound
from tertulia.ids import new_id
from tertulia.storage.database.paging import Page, Sort, Window, cut, ordering
from tertulia.storage.tables import services

MAX_NUMBER = 2**31 - 1
"""The largest integer that a column holds."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of versioned thing: what to call it, its tables, and the columns that refer to it."""

    noun: str
    things: Table
    versions: Table
    key: Column[str]
    used_by: Column[str]


@dataclass(frozen=True, slots=True)
class Author:
    """The user who makes or changes something."""

    org_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class VersionRange:
    """Versions from `first` to `last`, both included; None stands for the latest."""

    first: int | None
    last: int | None


def create(connection: Connection, kind: Kind, org_id: str, name: str) -> str:
    """A new thing without versions; its identifier.

    Raises:
        Conflict: the name is taken, be it by a deprecated one.
    """
    thing_id = new_id()
    row = {"id": thing_id, "org_id": org_id, "name": name, "deprecated": False, "created_at": clock.now()}
    try:
        connection.execute(sa.insert(kind.things).values(row))
    except IntegrityError as error:
        raise Conflict(f"There is already one of this name: {name}.") from error
    return thing_id


def get(connection: Connection, kind: Kind, org_id: str, thing_id: str) -> RowMapping:
    """A thing. Raises NotFound."""
    return _get(connection, kind, thing_id, _thing(kind, org_id, thing_id))


def lock(connection: Connection, kind: Kind, org_id: str, thing_id: str) -> RowMapping:
    """A thing that nobody else changes before this transaction ends. Raises NotFound."""
    return _get(connection, kind, thing_id, _thing(kind, org_id, thing_id).with_for_update())


def _thing(kind: Kind, org_id: str, thing_id: str) -> sa.Select[Any]:
    return sa.select(kind.things).where(kind.things.c.id == thing_id, kind.things.c.org_id == org_id)


def _get(connection: Connection, kind: Kind, thing_id: str, query: sa.Select[Any]) -> RowMapping:
    row = connection.execute(query).mappings().first()
    if row is None:
        raise NotFound(f"There is no {kind.noun} {thing_id}.")
    return row


def list_(
    connection: Connection,
    kind: Kind,
    org_id: str,
    window: Window,
    *conditions: ColumnElement[bool],
) -> Page[RowMapping]:
    """Things of an organization, the oldest first."""
    query = (
        sa.select(kind.things)
        .where(kind.things.c.org_id == org_id, *conditions)
        .order_by(kind.things.c.created_at, kind.things.c.id)
    )
    return _page(connection, query, window)


def deprecate(connection: Connection, kind: Kind, org_id: str, thing_id: str, authorize: Callable[[], None]) -> None:
    """Keep new services from using a thing.

    Raises:
        NotFound, Forbidden.
        Conflict: that was done before.
        BadRequest: an active service uses it.
    """
    row = lock(connection, kind, org_id, thing_id)
    authorize()
    if row["deprecated"]:
        raise Conflict(f"The {kind.noun} is already deleted.")
    in_use = sa.select(services.c.name).where(
        kind.used_by == thing_id, services.c.org_id == org_id, services.c.is_active
    )
    name = connection.execute(in_use.limit(1)).scalar()
    if name is not None:
        raise BadRequest(f"The active service {name} uses this {kind.noun}.")
    connection.execute(sa.update(kind.things).where(kind.things.c.id == thing_id).values(deprecated=True))


def create_version(
    connection: Connection,
    kind: Kind,
    thing: RowMapping,
    body: Mapping[str, Any],
    author: Author,
    expected: int | None,
) -> RowMapping:
    """The next version of a thing that this transaction has locked: its row.

    Raises:
        Conflict: its number would not be the expected one.
    """
    number = (thing["latest_version"] or 0) + 1
    if expected is not None and expected != number:
        raise Conflict(f"The next version is {number}, not {expected}.")
    row = {
        kind.key.name: thing["id"],
        "org_id": thing["org_id"],
        "version": number,
        "body": body,
        "creator_org_id": author.org_id,
        "creator_user_id": author.user_id,
        "created_at": clock.now(),
    }
    connection.execute(sa.insert(kind.versions).values(row))
    connection.execute(sa.update(kind.things).where(kind.things.c.id == thing["id"]).values(latest_version=number))
    return connection.execute(_version(kind, thing["org_id"], thing["id"], number)).mappings().one()


def find_version(
    connection: Connection, kind: Kind, org_id: str, thing_id: str, number: int | None
) -> RowMapping | None:
    """A version of a thing by its number, if there is one."""
    if number is None or not 0 < number <= MAX_NUMBER:
        return None
    return connection.execute(_version(kind, org_id, thing_id, number)).mappings().first()


def list_versions(
    connection: Connection,
    kind: Kind,
    org_id: str,
    thing_id: str,
    authorize: Callable[[], None],
    wanted: VersionRange | None,
    sort: Sort,
    window: Window,
) -> Page[RowMapping]:
    """Versions of a thing, the first one first unless sorted otherwise.

    Raises:
        NotFound, Forbidden.
    """
    thing = get(connection, kind, org_id, thing_id)
    authorize()
    number = kind.versions.c.version
    query = sa.select(kind.versions).where(kind.key == thing_id)
    if wanted is not None:
        latest = thing["latest_version"] or 0
        query = query.where(
            number.between(
                latest if wanted.first is None else wanted.first, latest if wanted.last is None else wanted.last
            )
        )
    return _page(connection, query.order_by(*ordering(sort, {"version": number}, number)), window)


def _version(kind: Kind, org_id: str, thing_id: str, number: int) -> sa.Select[Any]:
    return sa.select(kind.versions).where(
        kind.versions.c.org_id == org_id, kind.key == thing_id, kind.versions.c.version == number
    )


def _page(connection: Connection, query: sa.Select[Any], window: Window) -> Page[RowMapping]:
    limited = query.limit(window.limit + 1).offset(window.offset)
    rows: Sequence[RowMapping] = connection.execute(limited).mappings().all()
    return cut(rows, window)
