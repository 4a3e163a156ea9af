"""Agents and context graphs alike: a name, numbered versions that never change, and no deletion.

The functions take a `Kind`; agent.py and context_graph.py give theirs. A thing that is deleted is only marked as
deprecated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy import Column, Table
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from tertulia import clock
from tertulia.errors import BadRequest, Conflict, NotFound
from tertulia.ids import new_id
from tertulia.storage.database.paging import Page, Sort, Window, fetch_page, ordering
from tertulia.storage.database.rows import columns, find_row
from tertulia.storage.database.shapes import among
from tertulia.storage.tables import services

MAX_NUMBER = 2**31 - 1
"""The largest integer that a column holds."""


@dataclass(frozen=True, slots=True)
class Versioned:
    """A thing with numbered versions; `latest_version` is None until there is one."""

    id: str
    org_id: str
    name: str
    deprecated: bool
    latest_version: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the thing `thing_id`."""

    org_id: str
    thing_id: str
    number: int
    body: Mapping[str, Any]
    creator_org_id: str
    creator_user_id: str
    created_at: datetime


T = TypeVar("T", bound=Versioned)


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind of versioned thing: its noun, the class of its rows, its tables, and the columns that refer to it."""

    noun: str
    row: type[T]
    things: Table
    versions: Table
    key: Column[str]
    used_by: Column[str]


@dataclass(frozen=True, slots=True)
class Author:
    """The user who makes or changes something."""

    org_id: str
    user_id: str

    def change(self, moment: datetime) -> dict[str, object]:
        """Name the author and the moment of a change. Return them as the columns of the changed row."""
        return {"updated_by_org_id": self.org_id, "updated_by_user_id": self.user_id, "updated_at": moment}


@dataclass(frozen=True, slots=True)
class VersionedFilter:
    """A filter of things; an empty field narrows nothing."""

    id: Sequence[str] = ()
    deprecated: bool | None = None


@dataclass(frozen=True, slots=True)
class VersionRange:
    """Versions from `first` to `last`, both included; None stands for the latest."""

    first: int | None
    last: int | None


def create(connection: Connection, kind: Kind[T], org_id: str, name: str) -> str:
    """Insert a thing without versions. Return its identifier.

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


def find_id(connection: Connection, kind: Kind[T], org_id: str, name: str) -> str | None:
    """Look for a thing by its name. Return its identifier, or None."""
    query = sa.select(kind.things.c.id).where(kind.things.c.org_id == org_id, kind.things.c.name == name)
    return connection.execute(query).scalar()


def get(connection: Connection, kind: Kind[T], org_id: str, thing_id: str) -> T:
    """Fetch a thing. Return its row, or raise NotFound."""
    return _get(connection, kind, thing_id, _thing(kind, org_id, thing_id))


def lock(connection: Connection, kind: Kind[T], org_id: str, thing_id: str) -> T:
    """Fetch a thing that nobody else changes before this transaction ends. Return its row, or raise NotFound."""
    return _get(connection, kind, thing_id, _thing(kind, org_id, thing_id).with_for_update())


def lock_shared(connection: Connection, kind: Kind[T], org_id: str, thing_id: str) -> T:
    """Fetch a thing that nobody changes before this transaction ends, though others may lock it so too.

    Return its row, or raise NotFound.
    """
    return _get(connection, kind, thing_id, _thing(kind, org_id, thing_id).with_for_update(read=True))


def _thing(kind: Kind[T], org_id: str, thing_id: str) -> sa.Select[Any]:
    query = sa.select(*columns(kind.row, kind.things))
    return query.where(kind.things.c.id == thing_id, kind.things.c.org_id == org_id)


def _get(connection: Connection, kind: Kind[T], thing_id: str, query: sa.Select[Any]) -> T:
    row = find_row(connection, query, kind.row)
    if row is None:
        raise NotFound(f"There is no {kind.noun} {thing_id}.")
    return row


def list_(
    connection: Connection,
    kind: Kind[T],
    org_id: str,
    visible: ColumnElement[bool],
    narrow: VersionedFilter,
    window: Window,
) -> Page[T]:
    """Fetch a page of an organization's things, the oldest first. Return those that are `visible`."""
    things = kind.things.c
    query = sa.select(*columns(kind.row, kind.things)).where(things.org_id == org_id, visible)
    if narrow.deprecated is not None:
        query = query.where(things.deprecated.is_(narrow.deprecated))
    if narrow.id:
        query = query.where(among(things.id, narrow.id))
    return fetch_page(connection, query.order_by(things.created_at, things.id), window, kind.row)


def deprecate(connection: Connection, kind: Kind[T], thing: T) -> None:
    """Keep new services from using a thing that this transaction has locked.

    Raises:
        Conflict: the thing is deprecated already.
        BadRequest: an active service uses the thing.
    """
    if thing.deprecated:
        raise Conflict(f"The {kind.noun} is already deleted.")
    in_use = sa.select(services.c.name).where(
        kind.used_by == thing.id, services.c.org_id == thing.org_id, services.c.is_active
    )
    name = connection.execute(in_use.limit(1)).scalar()
    if name is not None:
        raise BadRequest(f"The active service {name} uses this {kind.noun}.")
    connection.execute(sa.update(kind.things).where(kind.things.c.id == thing.id).values(deprecated=True))


def create_version(
    connection: Connection, kind: Kind[T], thing: T, body: Mapping[str, Any], author: Author, expected: int | None
) -> Version:
    """Insert the next version of a thing that this transaction has locked. Return its row.

    Raises:
        Conflict: the version's number would not be the expected one.
    """
    number = (thing.latest_version or 0) + 1
    if expected is not None and expected != number:
        raise Conflict(f"The next version is {number}, not {expected}.")
    made = Version(thing.org_id, thing.id, number, body, author.org_id, author.user_id, clock.now())
    connection.execute(
        sa.insert(kind.versions).values(
            {
                kind.key.name: made.thing_id,
                "org_id": made.org_id,
                "version": made.number,
                "body": made.body,
                "creator_org_id": made.creator_org_id,
                "creator_user_id": made.creator_user_id,
                "created_at": made.created_at,
            }
        )
    )
    connection.execute(sa.update(kind.things).where(kind.things.c.id == thing.id).values(latest_version=number))
    return made


def find_version(
    connection: Connection, kind: Kind[T], org_id: str, thing_id: str, number: int | None
) -> Version | None:
    """Look for a version of a thing by its number. Return its row, or None."""
    if number is None or not 0 < number <= MAX_NUMBER:
        return None
    query = _versions(kind).where(
        kind.versions.c.org_id == org_id, kind.key == thing_id, kind.versions.c.version == number
    )
    return find_row(connection, query, Version)


def list_versions(
    connection: Connection, kind: Kind[T], thing: T, wanted: VersionRange | None, sort: Sort, window: Window
) -> Page[Version]:
    """Fetch a page of a thing's versions, the first one first unless sorted otherwise. Return the `wanted` ones."""
    number = kind.versions.c.version
    query = _versions(kind).where(kind.key == thing.id)
    if wanted is not None:
        latest = thing.latest_version or 0
        first = latest if wanted.first is None else wanted.first
        last = latest if wanted.last is None else wanted.last
        query = query.where(number.between(first, last))
    return fetch_page(connection, query.order_by(*ordering(sort, {"version": number}, number)), window, Version)


def _versions(kind: Kind[T]) -> sa.Select[Any]:
    return sa.select(*columns(Version, kind.versions, thing_id=kind.key, number=kind.versions.c.version))
