"""Dynamic behaviour sets: instructions for the agent that apply when a conversation comes to one of their triggers.

A set has versions, of which the newest counts, and applies to services. Each change of a set counts up the
`behaviors_revision` of its services, by which turns know whether what they remember of a service still holds.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.elements import ColumnElement

from tertulia import clock
from tertulia.errors import BadRequest, Conflict, NotFound
from tertulia.events import MessageType, VersionInfo
from tertulia.ids import new_id
from tertulia.storage.database.dialect import LinesFound
from tertulia.storage.database.paging import Page, Sort, Window, fetch_page, ordering
from tertulia.storage.database.rows import columns, find_row, list_rows
from tertulia.storage.database.shapes import among, padded
from tertulia.storage.database.tags import tag_conditions
from tertulia.storage.tables import (
    behavior_invocations,
    behavior_set_services,
    behavior_set_versions,
    behavior_sets,
    conversations,
    messages,
    services,
    users,
)
from tertulia.storage.versioned import Author, VersionRange

MOST_FOUND = 50
"""Sets that a search returns."""

MOST_WORDS = 8
"""Words of a search that count, the first ones."""

MOST_SEARCHED = 10_000
"""Sets that a search looks at, those changed last."""


@dataclass(frozen=True, slots=True)
class BehaviorSet:
    """A dynamic behaviour set; its triggers and actions are those of its latest version."""

    id: str
    org_id: str
    name: str
    is_active: bool
    tags: Mapping[str, str | None]
    latest_version: int
    creator_org_id: str
    creator_user_id: str
    created_at: datetime
    updated_by_org_id: str
    updated_by_user_id: str
    updated_at: datetime

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes that a permission's conditions can name; `COLUMNS` has the same ones."""
        return {"org_id": self.org_id, "dynamic_behavior_set_id": self.id}


COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "org_id": behavior_sets.c.org_id,
    "dynamic_behavior_set_id": behavior_sets.c.id,
}
"""The attributes of a set, as columns."""


@dataclass(frozen=True, slots=True)
class BehaviorBody:
    """The content of a version: the triggers, and the actions as the wire has them."""

    conversation_triggers: Sequence[str]
    actions: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class BehaviorSetVersion:
    """A version of a set."""

    id: str
    org_id: str
    set_id: str
    version: int
    conversation_triggers: Sequence[str]
    actions: Sequence[Mapping[str, Any]]
    creator_org_id: str
    creator_user_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class BehaviorInvocation:
    """A turn in which a version of a set was chosen, and the messages that led to it."""

    id: str
    org_id: str
    set_id: str
    version: int
    conversation_id: str
    service_id: str
    user_id: str
    initial_message_id: str
    agent_message_id: str | None
    inner_thought_ids: Sequence[str] | None
    external_event_ids: Sequence[str] | None
    invoked_at: datetime


@dataclass(frozen=True, slots=True)
class ActiveBehavior:
    """The latest version of an active set, as a turn reads it."""

    version: VersionInfo
    name: str
    conversation_triggers: Sequence[str]
    actions: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class BehaviorSetFilter:
    """A filter of sets; an empty field narrows nothing. All tags must match, and one value of each other field."""

    id: Sequence[str] = ()
    is_active: bool | None = None
    applied_to_service: Sequence[str] = ()
    creator: Sequence[tuple[str, str]] = ()
    """Pairs of an organization and a user."""
    tag: Sequence[tuple[str, str]] = ()
    """Pairs of a key and a value; the value `*` stands for any, and an empty one for null."""


@dataclass(frozen=True, slots=True)
class FilterValues:
    """The values that the sets under a filter have for each filter, sorted."""

    applied_to_service: Sequence[str]
    creator: Sequence[tuple[str, str]]
    tag_keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class SearchedPortion:
    """A portion of a search: the scores of the sets that have a word, and the characters of triggers that were read."""

    scores: Mapping[str, int]
    characters: int


# --- One set ---------------------------------------------------------------------------------------------------------


def get_set(connection: Connection, org_id: str, set_id: str) -> BehaviorSet:
    """Fetch a set. Return its row, or raise NotFound."""
    return _one(connection, _SET.where(_is(org_id, set_id), _LIVING), set_id)


def get_set_even_deleted(connection: Connection, org_id: str, set_id: str) -> BehaviorSet:
    """Fetch a set that may be deleted. Return its row, or raise NotFound."""
    return _one(connection, _SET.where(_is(org_id, set_id)), set_id)


def lock_set(connection: Connection, org_id: str, set_id: str) -> BehaviorSet:
    """Fetch a set that nobody else changes before this transaction ends. Return its row, or raise NotFound."""
    query = _SET.where(_is(org_id, set_id), _LIVING)
    return _one(connection, query.with_for_update(key_share=True), set_id)  # turns may refer to it meanwhile


_SET = sa.select(*columns(BehaviorSet, behavior_sets))
_LIVING = behavior_sets.c.is_deleted.is_(False)


def _is(org_id: str, set_id: str) -> ColumnElement[bool]:
    return sa.and_(behavior_sets.c.id == set_id, behavior_sets.c.org_id == org_id)


def _one(connection: Connection, query: sa.Select[Any], set_id: str) -> BehaviorSet:
    found = find_row(connection, query, BehaviorSet)
    if found is None:
        raise NotFound(f"There is no dynamic behavior set {set_id}.")
    return found


def insert_set(connection: Connection, made: BehaviorSet, service_ids: Sequence[str], body: BehaviorBody) -> None:
    """Insert a set with its first version.

    Raises:
        NotFound: a service does not exist.
        Conflict: the set is active, and another active one has its name.
    """
    _lock_services(connection, made.org_id, service_ids)
    row = {**asdict(made), "is_deleted": False, **_searched(made.name), **_searched_triggers(body)}
    with _unique_name(made.name):
        connection.execute(sa.insert(behavior_sets).values(row))
    _insert_version(connection, made, made.latest_version, body, Author(made.creator_org_id, made.creator_user_id))
    _put_services(connection, made, service_ids)


def update_set(connection: Connection, changed: BehaviorSet, service_ids: Sequence[str] | None) -> None:
    """Write the fields of a set that this transaction has locked; without `service_ids`, its services stay.

    Raises:
        NotFound: a service does not exist.
        Conflict: the set is active, and another active one has its name.
    """
    before = list_services(connection, [changed.id])[changed.id]
    _lock_services(connection, changed.org_id, before, *([] if service_ids is None else [service_ids]))
    with _unique_name(changed.name):
        _write(connection, changed.id, {**asdict(changed), **_searched(changed.name)})
    if service_ids is not None:
        connection.execute(sa.delete(behavior_set_services).where(behavior_set_services.c.set_id == changed.id))
        _put_services(connection, changed, service_ids)
    _count_change(connection, before)


def delete_set(connection: Connection, deleted: BehaviorSet) -> None:
    """Take a set that this transaction has locked out of use and out of sight; its invocations stay."""
    before = list_services(connection, [deleted.id])[deleted.id]
    _lock_services(connection, deleted.org_id, before)
    _write(connection, deleted.id, {"is_active": False, "is_deleted": True, "updated_at": clock.now()})
    _count_change(connection, before)


def _write(connection: Connection, set_id: str, values: Mapping[str, Any]) -> None:
    connection.execute(sa.update(behavior_sets).where(behavior_sets.c.id == set_id).values(values))


def _searched(name: str) -> dict[str, str]:
    return {"searched_name": name.casefold()}


def _searched_triggers(body: BehaviorBody) -> dict[str, str]:
    return {"searched_triggers": "\n".join(body.conversation_triggers).casefold()}


@contextmanager
def _unique_name(name: str) -> Generator[None]:
    try:
        yield
    except IntegrityError as error:
        raise Conflict(f"There is already an active dynamic behavior set of this name: {name}.") from error


# --- Services --------------------------------------------------------------------------------------------------------


def list_services(connection: Connection, set_ids: Sequence[str]) -> dict[str, list[str]]:
    """Look for the services that sets apply to. Return their identifiers by set."""
    links = behavior_set_services.c
    query = sa.select(links.set_id, links.service_id).where(among(links.set_id, set_ids)).order_by(links.service_id)
    found: dict[str, list[str]] = {set_id: [] for set_id in set_ids}
    for set_id, service_id in connection.execute(query):
        found[set_id].append(service_id)
    return found


def _lock_services(connection: Connection, org_id: str, *groups: Sequence[str]) -> None:
    """Lock services, always in the same order, so that two changes never wait for each other. Raises NotFound."""
    wanted = sorted({service_id for group in groups for service_id in group})
    query = (
        sa.select(services.c.id)
        .where(services.c.org_id == org_id, among(services.c.id, wanted))
        .order_by(services.c.id)
        .with_for_update(key_share=True)
    )
    found = set(connection.execute(query).scalars())
    for service_id in wanted:
        if service_id not in found:
            raise NotFound(f"There is no service {service_id}.")


def _put_services(connection: Connection, made: BehaviorSet, service_ids: Sequence[str]) -> None:
    rows = [
        {"org_id": made.org_id, "set_id": made.id, "service_id": service_id} for service_id in sorted(set(service_ids))
    ]
    if rows:
        connection.execute(sa.insert(behavior_set_services), rows)
    _count_change(connection, service_ids)


def _count_change(connection: Connection, service_ids: Sequence[str]) -> None:
    """Have the next turn of each service read its behaviours again."""
    if not service_ids:
        return
    revision = services.c.behaviors_revision
    changed = sa.update(services).where(among(services.c.id, service_ids))
    connection.execute(changed.values(behaviors_revision=revision + 1))


def list_active(connection: Connection, service_id: str) -> list[ActiveBehavior]:
    """Fetch the latest versions of the active sets that apply to a service. Return the oldest first."""
    sets, versions, links = behavior_sets.c, behavior_set_versions.c, behavior_set_services.c
    query = (
        sa.select(sets.id, versions.version, sets.name, versions.conversation_triggers, versions.actions)
        .join(behavior_set_services, links.set_id == sets.id)
        .join(behavior_set_versions, sa.and_(versions.set_id == sets.id, versions.version == sets.latest_version))
        .where(links.service_id == service_id, sets.is_active)
        .order_by(sets.created_at, sets.id)
    )
    return [ActiveBehavior((row[0], row[1]), *row[2:]) for row in connection.execute(query)]


# --- Lists -----------------------------------------------------------------------------------------------------------


def list_sets(
    connection: Connection,
    org_id: str,
    visible: ColumnElement[bool],
    narrow: BehaviorSetFilter,
    sort: Sort,
    window: Window,
) -> Page[BehaviorSet]:
    """Fetch a page of sets, the oldest first unless sorted otherwise. Return those that are `visible`."""
    order = ordering(sort, {"updated_at": behavior_sets.c.updated_at}, behavior_sets.c.created_at, behavior_sets.c.id)
    query = _SET.where(*_narrowed(org_id, narrow), visible).order_by(*order)
    return fetch_page(connection, query, window, BehaviorSet)


def list_filter_values(connection: Connection, org_id: str, narrow: BehaviorSetFilter) -> FilterValues:
    """Collect the values that the sets under a filter offer for filters, visible or not. Return each value once."""
    sets, links = behavior_sets.c, behavior_set_services.c
    conditions = _narrowed(org_id, narrow)
    applied = sa.select(links.service_id).join(behavior_sets, sets.id == links.set_id).where(*conditions).distinct()
    creators = sa.select(sets.creator_org_id, sets.creator_user_id).where(*conditions).distinct()
    tags = connection.execute(sa.select(sets.tags).where(*conditions).distinct()).scalars()
    return FilterValues(
        sorted(connection.execute(applied).scalars()),
        sorted((org, user) for org, user in connection.execute(creators)),
        sorted({key for found in tags for key in found}),
    )


def list_candidates(
    connection: Connection, org_id: str, visible: ColumnElement[bool], narrow: BehaviorSetFilter
) -> Sequence[str]:
    """List the sets that a search looks at. Return their identifiers, the last changed first."""
    sets = behavior_sets.c
    query = sa.select(sets.id).where(*_narrowed(org_id, narrow), visible).order_by(sets.updated_at.desc(), sets.id)
    return connection.execute(query.limit(MOST_SEARCHED)).scalars().all()


def score_sets(connection: Connection, set_ids: Sequence[str], words: Sequence[str]) -> SearchedPortion:
    """Search the names and the latest triggers of a few sets for words, of which there is one at least.

    Return the scores of those that have one. A word in the name of a set counts more than a word in its triggers.
    """
    sets = behavior_sets.c
    wanted = sa.literal("\n".join(list(dict.fromkeys(word.casefold() for word in words))[:MOST_WORDS]))
    score = 3 * LinesFound(sets.searched_name, wanted) + 2 * LinesFound(sets.searched_triggers, wanted)
    size = sa.func.length(sets.searched_triggers)
    rows = connection.execute(sa.select(sets.id, score, size).where(among(sets.id, set_ids))).all()
    return SearchedPortion({row[0]: row[1] for row in rows if row[1]}, sum(row[2] for row in rows))


def list_found(
    connection: Connection, org_id: str, visible: ColumnElement[bool], set_ids: Sequence[str]
) -> Sequence[BehaviorSet]:
    """Fetch sets that a search has found. Return those that are still `visible`, in the same order."""
    query = _SET.where(behavior_sets.c.org_id == org_id, _LIVING, visible, among(behavior_sets.c.id, set_ids))
    found = {each.id: each for each in list_rows(connection, query, BehaviorSet)}
    return [found[set_id] for set_id in set_ids if set_id in found]


def _narrowed(org_id: str, narrow: BehaviorSetFilter) -> list[ColumnElement[bool]]:
    sets, links = behavior_sets.c, behavior_set_services.c
    conditions: list[ColumnElement[bool]] = [sets.org_id == org_id, _LIVING]
    if narrow.id:
        conditions.append(among(sets.id, narrow.id))
    if narrow.is_active is not None:
        conditions.append(sets.is_active.is_(narrow.is_active))
    if narrow.applied_to_service:
        conditions.append(
            sets.id.in_(sa.select(links.set_id).where(among(links.service_id, narrow.applied_to_service)))
        )
    if narrow.creator:
        by = [sa.and_(sets.creator_org_id == org, sets.creator_user_id == user) for org, user in padded(narrow.creator)]
        conditions.append(sa.or_(*by))
    return [*conditions, *tag_conditions(sets.tags, narrow.tag)]


# --- Versions --------------------------------------------------------------------------------------------------------


def create_version(
    connection: Connection, changed: BehaviorSet, body: BehaviorBody, author: Author, expected: int | None
) -> int:
    """Insert the next version of a set that this transaction has locked. Return its number.

    Raises:
        BadRequest: the number would not be the expected one.
    """
    number = changed.latest_version + 1
    if expected is not None and expected != number:
        raise BadRequest(f"The next version is {number}, not {expected}.")
    applied = list_services(connection, [changed.id])[changed.id]
    _lock_services(connection, changed.org_id, applied)
    moment = _insert_version(connection, changed, number, body, author)
    changes = {"latest_version": number, **author.change(moment), **_searched_triggers(body)}
    _write(connection, changed.id, changes)
    _count_change(connection, applied)
    return number


def _insert_version(
    connection: Connection, changed: BehaviorSet, number: int, body: BehaviorBody, author: Author
) -> datetime:
    made = BehaviorSetVersion(
        id=new_id(),
        org_id=changed.org_id,
        set_id=changed.id,
        version=number,
        conversation_triggers=body.conversation_triggers,
        actions=body.actions,
        creator_org_id=author.org_id,
        creator_user_id=author.user_id,
        created_at=clock.now(),
    )
    connection.execute(sa.insert(behavior_set_versions).values(asdict(made)))
    return made.created_at


def list_versions(
    connection: Connection, found: BehaviorSet, wanted: VersionRange | None, sort: Sort, window: Window
) -> Page[BehaviorSetVersion]:
    """Fetch a page of a set's versions, the first one first unless sorted otherwise. Return the `wanted` ones."""
    number = behavior_set_versions.c.version
    query = sa.select(*columns(BehaviorSetVersion, behavior_set_versions)).where(
        behavior_set_versions.c.set_id == found.id
    )
    if wanted is not None:
        first = found.latest_version if wanted.first is None else wanted.first
        last = found.latest_version if wanted.last is None else wanted.last
        query = query.where(number.between(first, last))
    order = ordering(sort, {"version": number}, number)
    return fetch_page(connection, query.order_by(*order), window, BehaviorSetVersion)


# --- Invocations -----------------------------------------------------------------------------------------------------


def list_invocations(
    connection: Connection,
    set_id: str,
    visible: ColumnElement[bool],
    visible_types: Mapping[MessageType, ColumnElement[bool]],
    sort: Sort,
    window: Window,
) -> Page[BehaviorInvocation]:
    """Fetch a page of a set's invocations, newest first unless sorted otherwise.

    Return the invocations of which the caller may see every message: `visible` is the condition for the initial
    message, `visible_types` has the conditions for the others. Conditions may name columns of the initial message, of
    the conversation and of its owner.
    """
    made = behavior_invocations.c
    others = [sa.or_(column.is_(None), visible_types[kind]) for kind, column in _REFERRED.items()]
    query = (
        sa.select(*columns(BehaviorInvocation, behavior_invocations))
        .join(conversations, conversations.c.id == made.conversation_id)
        .join(users, users.c.id == conversations.c.user_id)
        .join(messages, messages.c.id == made.initial_message_id)
        .where(made.set_id == set_id, visible, *others)
        .order_by(*ordering(sort, {"invoked_at": made.invoked_at}, made.invoked_at.desc(), made.id.desc()))
    )
    return fetch_page(connection, query, window, BehaviorInvocation)


_REFERRED: Mapping[MessageType, ColumnElement[Any]] = {
    "agent-message": behavior_invocations.c.agent_message_id,
    "agent-inner-thought": behavior_invocations.c.inner_thought_ids,
    "external-event": behavior_invocations.c.external_event_ids,
}
"""The columns of an invocation that name other messages than the initial one, by their type; null: none."""
