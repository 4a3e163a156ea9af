"""Users of an organization. An email is stored in lower case, so that it is unique whatever its case."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, bindparam
from sqlalchemy.engine import Connection, RowMapping
from sqlalchemy.exc import IntegrityError

from tertulia import clock
from tertulia.errors import Conflict, NotFound
from tertulia.ids import new_id
from tertulia.storage.database import paging
from tertulia.storage.database.paging import Page, Sort, Window
from tertulia.storage.database.prepared import Prepared
from tertulia.storage.tables import (
    conversations,
    idempotency_keys,
    interactions,
    messages,
    recordings,
    roles,
    streams,
    users,
)

Authorize = Callable[[RowMapping], None]
"""Raises Forbidden when the caller may not act on the user of this row."""

COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "org_id": users.c.org_id,
    "user_id": users.c.id,
    "user_role_name": roles.c.name,
    "user_model_visible_to_admins": users.c.user_model_visible_to_admins,
}
"""The attributes of a user that a permission's conditions can name."""

SORTABLE: Mapping[str, ColumnElement[Any]] = {
    "first_name": users.c.first_name,
    "last_name": users.c.last_name,
    "email": users.c.email,
    "user_stats.num_conversations": users.c.num_conversations,
    "user_stats.num_messages": users.c.num_messages,
    # SQLite puts nulls first, PostgreSQL last: no message at all counts as the oldest on both.
    "user_stats.last_message_time": sa.func.coalesce(users.c.last_message_time, sa.literal(0, sa.BigInteger)),
}

_FLAGS = ("conversations_visible_to_admins", "user_model_visible_to_admins")
"""Preferences that permissions ask for: they have columns of their own, the others share a document."""


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user to be. `preferences` has every key; the values of sensitive variables are encrypted already."""

    role_id: str
    first_name: str
    last_name: str
    email: str
    preferences: Mapping[str, Any]
    nonsensitive_variables: Mapping[str, str] = field(default_factory=dict[str, str])
    sensitive_variables: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class UserChanges:
    """What is to be changed: columns of the user, and some of the preferences."""

    columns: Mapping[str, Any]
    preferences: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class UserFilter:
    """What a list of users is narrowed to; an empty field narrows nothing."""

    user_id: Sequence[str] = ()
    email: Sequence[str] = ()


def preferences_of(row: RowMapping) -> dict[str, Any]:
    """All preferences of a user's row."""
    return {**row["preferences"], **{flag: row[flag] for flag in _FLAGS}}


def insert_user(connection: Connection, org_id: str, user: NewUser) -> str:
    """Insert a user; their id.

    Raises:
        Conflict: the organization has a user with this email.
    """
    user_id = new_id()
    row: dict[str, Any] = {
        "id": user_id,
        "org_id": org_id,
        "role_id": user.role_id,
        "first_name": user.first_name,
        "last_name": user.last_name,
        "email": user.email.lower(),
        "is_verified": False,
        **_preference_columns(user.preferences),
        "additional_context": [],
        "nonsensitive_variables": dict(user.nonsensitive_variables),
        "sensitive_variables": dict(user.sensitive_variables),
        "num_conversations": 0,
        "num_messages": 0,
        "created_at": clock.now(),
    }
    if find_user_id(connection, org_id, user.email) is not None:
        raise Conflict(_TAKEN)
    try:
        connection.execute(sa.insert(users), row)
    except IntegrityError as error:  # somebody else was faster
        raise Conflict(_TAKEN) from error
    return user_id


_TAKEN = "The organization has a user with this email already."


def find_user_id(connection: Connection, org_id: str, email: str) -> str | None:
    """The user with an email, whatever its case."""
    query = sa.select(users.c.id).where(users.c.org_id == org_id, users.c.email == email.lower())
    return connection.execute(query).scalar()


_WITH_ROLE = (
    sa.select(users, users.c.id.label("user_id"), roles.c.name.label("user_role_name"), roles.c.permission_grants)
    .join(roles, roles.c.id == users.c.role_id)
    .where(users.c.org_id == bindparam("org_id"), users.c.id == bindparam("user_id"))
)
_LOCKED = _WITH_ROLE.with_for_update(of=users)
_ROLE = _WITH_ROLE.with_only_columns(users.c.role_id, roles.c.name.label("role_name"), roles.c.permission_grants)


_FIND_ROLE = Prepared(_ROLE)
_FIND_ROLE_ID = Prepared(
    sa.select(users.c.role_id).where(users.c.org_id == bindparam("org_id"), users.c.id == bindparam("user_id"))
)


def find_role(connection: Connection, org_id: str, user_id: str) -> dict[str, Any] | None:
    """The `role_id`, `role_name` and `permission_grants` of a user."""
    return _FIND_ROLE.first(connection, {"org_id": org_id, "user_id": user_id})


def find_role_id(connection: Connection, org_id: str, user_id: str) -> str | None:
    """The role of a user."""
    row = _FIND_ROLE_ID.first(connection, {"org_id": org_id, "user_id": user_id})
    return None if row is None else row["role_id"]


def get_user(connection: Connection, org_id: str, user_id: str) -> RowMapping:
    """A user with the name and the grants of their role.

    Raises:
        NotFound: there is none.
    """
    return _get(connection, _WITH_ROLE, org_id, user_id)


def _get(connection: Connection, query: sa.Select[Any], org_id: str, user_id: str) -> RowMapping:
    row = connection.execute(query, {"org_id": org_id, "user_id": user_id}).mappings().first()
    if row is None:
        raise NotFound(f"There is no user {user_id}.")
    return row


def list_users(
    connection: Connection,
    org_id: str,
    visible: ColumnElement[bool],
    narrow: UserFilter,
    sort: Sort,
    window: Window,
) -> Page[RowMapping]:
    """A page of the users that are `visible`; the oldest first where nothing else is asked."""
    query = (
        sa.select(users)
        .join(roles, roles.c.id == users.c.role_id)
        .where(users.c.org_id == org_id, visible)
        .order_by(*paging.ordering(sort, SORTABLE, users.c.created_at, users.c.id))
    )
    if narrow.user_id:
        query = query.where(users.c.id.in_(narrow.user_id))
    if narrow.email:
        query = query.where(users.c.email.in_([email.lower() for email in narrow.email]))
    rows = connection.execute(query.limit(window.limit + 1).offset(window.offset)).mappings().all()
    return paging.cut(rows, window)


def update_user(connection: Connection, org_id: str, user_id: str, changes: UserChanges, authorize: Authorize) -> None:
    """Change a user.

    Raises:
        NotFound, Forbidden.
    """
    row = _get(connection, _LOCKED, org_id, user_id)
    authorize(row)
    preferences = _preference_columns({**preferences_of(row), **changes.preferences})
    connection.execute(sa.update(users).where(users.c.id == user_id).values(**changes.columns, **preferences))


def delete_user(connection: Connection, org_id: str, user_id: str, authorize: Authorize) -> None:
    """Remove a user and all that they said and were told.

    Raises:
        NotFound, Forbidden.
        Conflict: a turn of one of their conversations is running.
    """
    authorize(_get(connection, _LOCKED, org_id, user_id))
    theirs = sa.and_(conversations.c.org_id == org_id, conversations.c.user_id == user_id)
    _refuse_while_turns_run(connection, theirs)
    ids = sa.select(conversations.c.id).where(theirs)
    for table in (recordings, messages, streams, interactions):
        connection.execute(sa.delete(table).where(table.c.conversation_id.in_(ids)))
    connection.execute(sa.delete(conversations).where(theirs))
    keys = idempotency_keys.c
    connection.execute(sa.delete(idempotency_keys).where(keys.org_id == org_id, keys.user_id == user_id))
    connection.execute(sa.delete(users).where(users.c.id == user_id))


def _refuse_while_turns_run(connection: Connection, theirs: ColumnElement[bool]) -> None:
    leases = connection.execute(sa.select(conversations.c.lease_expires_at).where(theirs).with_for_update()).scalars()
    now = clock.now()
    if any(expires_at is not None and expires_at > now for expires_at in leases):
        raise Conflict("A turn of one of the user's conversations is running.")


def _preference_columns(preferences: Mapping[str, Any]) -> dict[str, Any]:
    shared = {name: value for name, value in preferences.items() if name not in _FLAGS}
    return {"preferences": shared, **{flag: preferences[flag] for flag in _FLAGS}}
