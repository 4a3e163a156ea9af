"""Users of an organization. An email is stored in lower case, so that it is unique whatever its case."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement, bindparam
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from tertulia import clock
from tertulia.errors import BadRequest, Conflict, NotFound
from tertulia.ids import new_id
from tertulia.storage.database.dialect import Unindexed
from tertulia.storage.database.paging import Page, Sort, Window, fetch_page, ordering
from tertulia.storage.database.prepared import PreparedSelect
from tertulia.storage.database.rows import columns, find_row, list_rows
from tertulia.storage.database.shapes import among
from tertulia.storage.erasure import add_erasure
from tertulia.storage.job import Job
from tertulia.storage.role import Role
from tertulia.storage.tables import (
    api_keys,
    conversations,
    identities,
    mail_tokens,
    roles,
    shares,
    temporary_grants,
    user_statistics,
    users,
)
from tertulia.storage.turn.values import Standing
from tertulia.storage.usage import give_back_all
from tertulia.storage.user_search import add_entries, find_user_ids, remove_entries
from tertulia.storage.user_statistics import ranked, recent_users, remove_statistics


@dataclass(frozen=True, slots=True)
class User:
    """A user with the name of their role. `shared_preferences` are those without a column of their own."""

    id: str
    org_id: str
    role_id: str
    role_name: str
    first_name: str
    last_name: str
    email: str
    shared_preferences: Mapping[str, Any]
    conversations_visible_to_admins: bool
    user_model_visible_to_admins: bool
    additional_context: Sequence[str]
    nonsensitive_variables: Mapping[str, str]
    sensitive_variables: Mapping[str, str]
    num_conversations: int
    num_messages: int
    last_message_time: datetime | None

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes that a permission's conditions can name; `COLUMNS` has the same ones."""
        return {
            "org_id": self.org_id,
            "user_id": self.id,
            "user_role_name": self.role_name,
            "user_model_visible_to_admins": self.user_model_visible_to_admins,
        }

    @property
    def search_text(self) -> str:
        """The text by which the user is found."""
        return _search_text(self.first_name, self.last_name, self.email)

    @property
    def preferences(self) -> dict[str, Any]:
        """All preferences by name."""
        return {**self.shared_preferences, **{flag: getattr(self, flag) for flag in _FLAGS}}


COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "org_id": users.c.org_id,
    "user_id": users.c.id,
    "user_role_name": roles.c.name,
    "user_model_visible_to_admins": users.c.user_model_visible_to_admins,
}
"""The attributes of a user, as columns."""

_ORG_OF_THE_FEW = Unindexed(users.c.org_id)
"""The organization of users who are looked up by their identifiers, which find fewer rows."""

COLUMNS_OF_THE_FEW: Mapping[str, ColumnElement[Any]] = {**COLUMNS, "org_id": _ORG_OF_THE_FEW}
"""The attributes of a user, as a search has them."""

SORTABLE: Mapping[str, ColumnElement[Any]] = {
    "first_name": users.c.first_name,
    "last_name": users.c.last_name,
    "email": users.c.email,
    "user_stats.num_conversations": users.c.num_conversations,
    "user_stats.num_messages": users.c.num_messages,
    # SQLite puts nulls first, PostgreSQL last: no message at all counts as the oldest on both.
    "user_stats.last_message_time": sa.func.coalesce(users.c.last_message_time, sa.literal(0, sa.BigInteger)),
}

_RANKED: Mapping[str, ColumnElement[Any]] = {
    **SORTABLE,
    "user_stats.num_conversations": user_statistics.c.num_conversations,
    "user_stats.num_messages": user_statistics.c.num_messages,
    "user_stats.last_message_time": sa.type_coerce(user_statistics.c.last_message_time, sa.BigInteger),
}

RANKED = frozenset(field for field in SORTABLE if _RANKED[field] is not SORTABLE[field])
"""The fields that lists are sorted by with the indexes of `user_statistics`."""

MOST_PLAIN_VARIABLES = 19
"""Variables of a user that are not secret; `user_id`, which is built in, is the twentieth."""
MOST_SECRET_VARIABLES = 20

_FLAGS = ("conversations_visible_to_admins", "user_model_visible_to_admins")
"""Preferences that permissions ask for: they have columns of their own, the others share a document."""


@dataclass(frozen=True, slots=True)
class NewUser:
    """A user about to be inserted. `preferences` has every key; the values of sensitive variables are encrypted."""

    role_id: str
    first_name: str
    last_name: str
    email: str
    preferences: Mapping[str, Any]
    nonsensitive_variables: Mapping[str, str] = field(default_factory=dict[str, str])
    sensitive_variables: Mapping[str, str] = field(default_factory=dict[str, str])

    def attributes_in(self, role: Role) -> dict[str, object]:
        """Return the attributes that a permission's conditions can name; there is no id yet."""
        return {
            "org_id": role.org_id,
            "user_role_name": role.name,
            "user_model_visible_to_admins": self.preferences["user_model_visible_to_admins"],
        }


@dataclass(frozen=True, slots=True)
class UserChanges:
    """Changes of a user: columns of the row, and some of the preferences."""

    columns: Mapping[str, Any]
    preferences: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class VariableChanges:
    """Changes of a user's variables; the secret ones are encrypted. No name stands in two of them."""

    plain: Mapping[str, str]
    secret: Mapping[str, str]
    deletes: Sequence[str]


@dataclass(frozen=True, slots=True)
class UserFilter:
    """A filter of users; an empty field narrows nothing."""

    user_id: Sequence[str] = ()
    email: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class UserRole:
    """The role that a user has, and the end of what they have beyond it for some time; None: they never had.

    The role of the API key that was asked for comes along; None: there is no such key.
    """

    role_id: str
    role_name: str
    permission_grants: object
    granted_until: datetime | None
    key_role_id: str | None


def insert_user(connection: Connection, org_id: str, user: NewUser) -> str:
    """Insert a user. Return the new id.

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
        "search_text": _search_text(user.first_name, user.last_name, user.email),
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
    add_entries(connection, org_id, user_id, row["search_text"])
    return user_id


_TAKEN = "The organization has a user with this email already."


def find_user_id(connection: Connection, org_id: str, email: str) -> str | None:
    """Look for a user by their email, whatever its case. Return their id, or None."""
    query = sa.select(users.c.id).where(users.c.org_id == org_id, users.c.email == email.lower())
    return connection.execute(query).scalar()


_USERS = sa.select(*columns(User, users, role_name=roles.c.name, shared_preferences=users.c.preferences)).join(
    roles, roles.c.id == users.c.role_id
)
_USER = _USERS.where(users.c.org_id == bindparam("org_id"), users.c.id == bindparam("user_id"))
_LOCKED = _USER.with_for_update(of=users)
_this_key = api_keys.c.org_id == bindparam("org_id"), api_keys.c.key_id == bindparam("key_id")
_KEY_ROLE_ID = sa.select(api_keys.c.role_id).where(*_this_key).scalar_subquery()
_FIND_ROLE = PreparedSelect(
    UserRole,
    _USER.with_only_columns(
        *columns(
            UserRole,
            users,
            role_name=roles.c.name,
            permission_grants=roles.c.permission_grants,
            key_role_id=_KEY_ROLE_ID,
        )
    ),
)


_KEY_ID = sa.select(api_keys.c.key_id).where(*_this_key).scalar_subquery()
_FIND_STANDING = PreparedSelect(
    Standing,
    sa.select(
        *columns(
            Standing,
            users,
            key_id=sa.func.coalesce(_KEY_ID, ""),
            key_role_id=sa.func.coalesce(_KEY_ROLE_ID, ""),
        )
    ).where(users.c.org_id == bindparam("org_id"), users.c.id == bindparam("user_id")),
)


def find_role_of(connection: Connection, org_id: str, user_id: str, key_id: str = "") -> UserRole | None:
    """Look for the role of a user, and for an API key. Return it, or None if there is no such user."""
    return _FIND_ROLE.first(connection, {"org_id": org_id, "user_id": user_id, "key_id": key_id})


def find_standing(connection: Connection, org_id: str, user_id: str, key_id: str) -> Standing | None:
    """Look for the standing of a user who has signed in with a key; "" for none. Return it, or None without a user.

    A key that is not there any more is not in it.
    """
    return _FIND_STANDING.first(connection, {"org_id": org_id, "user_id": user_id, "key_id": key_id})


def list_role_ids(connection: Connection, org_id: str, user_ids: Sequence[str]) -> dict[str, str]:
    """Look for the roles of users. Return their ids by the user's; users who are gone are left out."""
    query = sa.select(users.c.id, users.c.role_id).where(users.c.org_id == org_id, among(users.c.id, user_ids))
    return {row.id: row.role_id for row in connection.execute(query)}


def get_user(connection: Connection, org_id: str, user_id: str) -> User:
    """Fetch a user. Return their row, or raise NotFound."""
    return _found(_find(connection, _USER, org_id, user_id), user_id)


def lock_user(connection: Connection, org_id: str, user_id: str) -> User:
    """Fetch a user whom nobody else changes before this transaction ends. Return their row, or raise NotFound."""
    # PostgreSQL: if their role was replaced while we waited, the new one is not in the first answer but in the second.
    user = _find(connection, _LOCKED, org_id, user_id) or _find(connection, _LOCKED, org_id, user_id)
    return _found(user, user_id)


def _find(connection: Connection, query: sa.Select[Any], org_id: str, user_id: str) -> User | None:
    return find_row(connection, query, User, {"org_id": org_id, "user_id": user_id})


def _found(user: User | None, user_id: str) -> User:
    if user is None:
        raise NotFound(f"There is no user {user_id}.")
    return user


def list_users(
    connection: Connection,
    org_id: str,
    visible: ColumnElement[bool],
    narrow: UserFilter,
    sort: Sort,
    window: Window,
) -> Page[User]:
    """Fetch a page of users, the oldest first unless sorted otherwise. Return those that are `visible`."""
    few = narrow.user_id or narrow.email
    query = _USERS.where((_ORG_OF_THE_FEW if few else users.c.org_id) == org_id, visible)
    if narrow.user_id:
        query = query.where(among(users.c.id, narrow.user_id))
    if narrow.email:
        emails = among(users.c.email, [email.lower() for email in narrow.email])
        theirs = connection.execute(sa.select(users.c.id).where(users.c.org_id == org_id, emails)).scalars().all()
        query = query.where(among(users.c.id, theirs))
    elif not narrow.user_id and sort and sort[0].field in RANKED:
        recent = recent_users(connection, org_id)
        if recent is not None:
            return _list_ranked(connection, ranked(org_id, recent), (users.c.id.in_(recent), visible), sort, window)
    ordered = query.order_by(*_order(sort, SORTABLE, users.c.created_at, users.c.id))
    return fetch_page(connection, ordered, window, User)


def _order(
    sort: Sort, columns: Mapping[str, ColumnElement[Any]], *ties: ColumnElement[Any]
) -> list[ColumnElement[Any]]:
    """Return the terms of an order; ties are in the direction of the last field, for an index is read in one."""
    backwards = bool(sort) and sort[-1].descending
    return ordering(sort, columns, *(tie.desc() if backwards else tie for tie in ties))


def _list_ranked(
    connection: Connection,
    ranked: ColumnElement[bool],
    recent: tuple[ColumnElement[bool], ColumnElement[bool]],
    sort: Sort,
    window: Window,
) -> Page[User]:
    """Fetch a page of users by their statistics: as many as it takes from an index, and all who have changed since."""
    is_recent, visible = recent
    fields = {key.field: f"key_{number}" for number, key in enumerate(sort)}

    def keyed(columns: Mapping[str, ColumnElement[Any]], *ties: ColumnElement[Any]) -> sa.Select[Any]:
        keys = [columns[field].label(name) for field, name in fields.items()]
        return sa.select(*keys, ties[0].label("made"), ties[1].label("user_id"))

    counted = user_statistics.c
    from_index = (
        keyed(_RANKED, counted.created_at, counted.user_id)
        .select_from(
            user_statistics.join(users, users.c.id == counted.user_id).join(roles, roles.c.id == users.c.role_id)
        )
        .where(ranked, visible)
        .order_by(*_order(sort, _RANKED, counted.created_at, counted.user_id))
        .limit(window.offset + window.limit + 1)
        .subquery()
    )
    from_rows = (
        keyed(SORTABLE, users.c.created_at, users.c.id)
        .select_from(users.join(roles, roles.c.id == users.c.role_id))
        .where(is_recent, visible)
    )
    both = sa.union_all(sa.select(from_index), from_rows).subquery()
    merged = {field: both.c[name] for field, name in fields.items()}
    query = _USERS.join(both, both.c.user_id == users.c.id)
    return fetch_page(connection, query.order_by(*_order(sort, merged, both.c.made, both.c.user_id)), window, User)


def update_user(connection: Connection, user: User, changes: UserChanges) -> None:
    """Change a user that this transaction has locked."""
    preferences = _preference_columns({**user.preferences, **changes.preferences})
    names = {"first_name": user.first_name, "last_name": user.last_name, **changes.columns}
    text = _search_text(names["first_name"], names["last_name"], user.email)
    if text != user.search_text:
        remove_entries(connection, user.org_id, user.id, user.search_text)
        add_entries(connection, user.org_id, user.id, text)
    changed = {**changes.columns, **preferences, "search_text": text}
    connection.execute(sa.update(users).where(users.c.id == user.id).values(changed))


def _search_text(first_name: str, last_name: str, email: str) -> str:
    return folded(f"{first_name} {last_name} {email}")


def folded(text: str) -> str:
    """Fold a text, so that those that differ in case or in the form of characters are the same. Return it."""
    return unicodedata.normalize("NFKC", text).casefold()


def search_users(
    connection: Connection, org_id: str, visible: ColumnElement[bool], query: str, user_ids: Sequence[str] | None
) -> Sequence[User]:
    """Fetch the users whose names or email contain a text, in the alphabet's order. Return those that are `visible`.

    There are `MOST_FOUND` and one more at most; if more users match, these are some of them. With `user_ids`, only
    those are looked at.
    """
    text = folded(query).strip()
    if not text and user_ids is None:
        everybody = _USERS.where(users.c.org_id == org_id, visible).order_by(users.c.search_text, users.c.id)
        return list_rows(connection, everybody.limit(MOST_FOUND + 1), User)
    containing = users.c.search_text.contains(text, autoescape=True)
    matching = _USERS.where(sa.literal(org_id) == _ORG_OF_THE_FEW, containing, visible)
    found: list[User] = []
    for ids in find_user_ids(connection, org_id, text) if user_ids is None else (user_ids,):
        found += list_rows(connection, matching.where(among(users.c.id, ids)), User)
        if len(found) > MOST_FOUND:
            break
    return sorted(found, key=lambda user: (user.search_text, user.id))[: MOST_FOUND + 1]


MOST_FOUND = 100
"""Users that a search finds."""


def verify_user(connection: Connection, user_id: str) -> None:
    """Note that a user has shown that their address is theirs."""
    connection.execute(sa.update(users).where(users.c.id == user_id).values(is_verified=True))


def give_role(connection: Connection, user: User, role_id: str) -> None:
    """Give a role to a user that this transaction has locked."""
    connection.execute(sa.update(users).where(users.c.id == user.id).values(role_id=role_id))


def change_variables(connection: Connection, user: User, changes: VariableChanges) -> None:
    """Change the variables of a user that this transaction has locked: all of it, or nothing.

    A variable that becomes secret, or is secret no more, is found in one place alone.

    Raises:
        BadRequest: a variable to delete does not exist, or the user would have too many.
    """
    for name in changes.deletes:
        if name not in user.nonsensitive_variables and name not in user.sensitive_variables:
            raise BadRequest(f"The user has no variable {name}.")
    gone = {*changes.plain, *changes.secret, *changes.deletes}
    plain = {**_without(user.nonsensitive_variables, gone), **changes.plain}
    secret = {**_without(user.sensitive_variables, gone), **changes.secret}
    if len(plain) > MOST_PLAIN_VARIABLES:
        raise BadRequest(f"A user has at most {MOST_PLAIN_VARIABLES} variables that are not secret beside user_id.")
    if len(secret) > MOST_SECRET_VARIABLES:
        raise BadRequest(f"A user has at most {MOST_SECRET_VARIABLES} secret variables.")
    changed = {"nonsensitive_variables": plain, "sensitive_variables": secret}
    connection.execute(sa.update(users).where(users.c.id == user.id).values(changed))


def _without(variables: Mapping[str, str], names: set[str]) -> dict[str, str]:
    return {name: value for name, value in variables.items() if name not in names}


def delete_user(connection: Connection, user: User, more: Mapping[str, Any] | None = None) -> Job:
    """Remove a user that this transaction has locked. Return the job that erases their conversations, taken.

    `more` goes into the payload of the job.

    Raises:
        Conflict: a turn of one of their conversations is running.
    """
    _refuse_while_turns_run(connection, user)
    give_back_all(connection, user.org_id, user.id)
    for table in (temporary_grants, mail_tokens, shares, identities):
        connection.execute(sa.delete(table).where(table.c.user_id == user.id))
    remove_entries(connection, user.org_id, user.id, user.search_text)
    remove_statistics(connection, user.id)
    connection.execute(sa.delete(users).where(users.c.id == user.id))
    return add_erasure(connection, user.org_id, user.id, more)


def _refuse_while_turns_run(connection: Connection, user: User) -> None:
    # Locked, so that none of the turns is settled meanwhile; one that begins later finds no user.
    running = sa.select(conversations.c.id).where(
        conversations.c.org_id == user.org_id,
        conversations.c.user_id == user.id,
        conversations.c.lease_expires_at > clock.now(),
    )
    if connection.execute(running.limit(1).with_for_update()).first() is not None:
        raise Conflict("A turn of one of the user's conversations is running.")


def _preference_columns(preferences: Mapping[str, Any]) -> dict[str, Any]:
    shared = {name: value for name, value in preferences.items() if name not in _FLAGS}
    return {"preferences": shared, **{flag: preferences[flag] for flag in _FLAGS}}
