"""The caller of a request: a user with a role, and so with permissions."""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.auth import grants
from tertulia.auth.grants import SELF_ORG_ID, SELF_USER_ID, Grant, Grants
from tertulia.auth.permissions import Permission
from tertulia.auth.ranks import Ranks
from tertulia.auth.tokens import Claims
from tertulia.errors import Forbidden, Unauthorized
from tertulia.storage import temporary_grant as temporary_grants
from tertulia.storage import user as users
from tertulia.storage.role import find_grants
from tertulia.storage.turn.values import Standing
from tertulia.storage.user import UserRole
from tertulia.storage.versioned import Author


@dataclass(frozen=True, slots=True)
class Extra:
    """A grant that somebody has until a time, beyond those of their role."""

    grant: Grant
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Actor:
    """A user of an organization, with the grants of their role and those that they have for some time.

    Only the role's count when callers are compared with others. `granted_until` is the end of the last of the others,
    `key_id` the API key that the caller has signed in with, and `key_role_id` its role, which outranks the caller's; ""
    for none.
    """

    org_id: str
    user_id: str
    role_id: str
    role_name: str
    grants: tuple[Grant, ...]
    extras: tuple[Extra, ...] = ()
    granted_until: datetime | None = None
    key_id: str = ""
    key_role_id: str = ""

    def may(self, permission: Permission, target: Mapping[str, object]) -> bool:
        """Return whether the caller has a permission on a target with these attributes."""
        if grants.decide(self.grants, permission, target, self._self):
            return True
        return bool(self.extras) and grants.decide(self._valid_extras(), permission, target, self._self)

    def decisions(self, permission: Permission) -> Callable[[Mapping[str, object]], bool]:
        """Prepare to ask `may` of many targets. Return it for this permission."""
        return grants.decide_many([*self.grants, *self._valid_extras()], permission, self._self)

    def require(self, permission: Permission, target: Mapping[str, object]) -> None:
        """Raise Forbidden unless the caller has a permission on a target with these attributes."""
        if not self.may(permission, target):
            raise Forbidden(f"You need the permission {permission}.")

    def visible(self, permission: Permission, columns: Mapping[str, ColumnElement[Any]]) -> ColumnElement[bool]:
        """Write a condition for the rows on which the caller has a permission. Return it.

        `columns` are the attributes of a row.
        """
        return grants.visible(self._held(), permission, columns, self._self)

    def sees_own_only(self, permission: Permission, attribute: str) -> bool:
        """Return True if the caller has a permission on nothing but what is their own by an attribute."""
        return grants.is_own_only(self._held(), permission, attribute)

    def _held(self) -> Grants:
        return [*self.grants, *self._valid_extras()] if self.extras else self.grants

    def outranks(self, others: Grants) -> bool:
        """Return whether the caller's role may do all that a role of the organization with these grants may, and more.

        Temporary grants do not count.
        """
        mine = grants.within(self.grants, self.org_id)
        return grants.outranks(mine, grants.within(others, self.org_id))

    def require_rank_over(self, permission_grants: object, refusal: str) -> None:
        """Raise Forbidden, with a refusal, unless the caller outranks a role with these grants, as roles store them."""
        if not self.outranks(grants.parse(permission_grants)):
            raise Forbidden(refusal)

    def is_outranked_by(self, others: Grants) -> bool:
        """Return whether a role of the organization with these grants may do all that the caller's may, and more."""
        mine = grants.within(self.grants, self.org_id)
        return grants.outranks(grants.within(others, self.org_id), mine)

    def has_by_role(self, permission_name: str) -> bool:
        """Return whether the caller's role gives a permission here, under whatever other conditions."""
        here = grants.within(self.grants, self.org_id)
        return any(grant.permission_name == permission_name for grant in here)

    def _valid_extras(self) -> list[Grant]:
        now = clock.now()
        return [extra.grant for extra in self.extras if extra.expires_at > now]

    @property
    def standing(self) -> Standing:
        """The standing that the caller was remembered with."""
        return Standing(self.role_id, self.granted_until, self.key_id, self.key_role_id)

    @property
    def author(self) -> Author:
        """The name under which the caller makes and changes things."""
        return Author(self.org_id, self.user_id)

    @property
    def _self(self) -> dict[str, str]:
        return {SELF_ORG_ID: self.org_id, SELF_USER_ID: self.user_id}


class StaleActor(Exception):
    """A remembered caller has another role by now, or is gone."""


REMEMBERED = 10_000
REMEMBERED_S = 60.0
REMEMBERED_ORGANIZATIONS = 1000


class Actors:
    """The callers of a process: those of the last minute, at most so many, and what their roles grant.

    A remembered caller is confirmed in the transaction that writes, and loaded again if stale. So is one whom nobody
    has seen: most callers of an organization have the same role, and a first request needs no query of its own.
    """

    def __init__(self) -> None:
        self._actors: OrderedDict[tuple[str, str, str], tuple[Actor, float]] = OrderedDict()
        self._latest: dict[str, tuple[Actor, float]] = {}
        """The caller of each organization that was loaded last, and until when grants that old are believed."""
        self.ranks = Ranks()

    def find(self, claims: Claims) -> Actor | None:
        """Look for a caller in memory; guess that an unknown one has the role of the last one. Return them, or None.

        A wrong guess costs another attempt and nothing else, for a caller is confirmed before anything is done.
        """
        now = time.monotonic()
        key_id = claims.key_id or ""
        actor, until = self._actors.get((claims.org_id, claims.user_id, key_id), (None, 0.0))
        if now < until:
            return actor
        like, until = self._latest.get(claims.org_id, (None, 0.0))
        if like is None or now >= until:
            return None
        if like.key_id != key_id:
            return None
        guessed = replace(like, user_id=claims.user_id, extras=(), granted_until=None)
        self._keep(guessed, until)
        return guessed

    def remember(self, actor: Actor) -> None:
        """Remember a caller that has just been loaded."""
        until = time.monotonic() + REMEMBERED_S
        self._keep(actor, until)
        if actor.org_id not in self._latest and len(self._latest) >= REMEMBERED_ORGANIZATIONS:
            self._latest.clear()
        self._latest[actor.org_id] = (actor, until)

    def _keep(self, actor: Actor, until: float) -> None:
        self._actors[actor.org_id, actor.user_id, actor.key_id] = (actor, until)
        if len(self._actors) > REMEMBERED:
            self._actors.popitem(last=False)

    def load(self, connection: Connection, claims: Claims) -> Actor:
        """Load the user that a token names. Return them with the role they have now.

        Raises:
            Unauthorized: there is no such user any more, or not the API key that the token was got with, or it does
                not outrank the user any more.
        """
        key_id = claims.key_id or ""
        role = users.find_role_of(connection, claims.org_id, claims.user_id, key_id)
        if role is None:
            raise Unauthorized("The user of this token does not exist.")
        held = self.ranks.parse((role.role_id, role.permission_grants))
        if key_id:
            self._require_rank(connection, claims.org_id, role)
        until = role.granted_until
        extras = _load_extras(connection, claims.user_id) if until is not None and until > clock.now() else ()
        return Actor(
            org_id=claims.org_id,
            user_id=claims.user_id,
            role_id=role.role_id,
            role_name=role.role_name,
            grants=held,
            extras=extras,
            granted_until=until,
            key_id=key_id,
            key_role_id=role.key_role_id or "",
        )

    def _require_rank(self, connection: Connection, org_id: str, role: UserRole) -> None:
        """Raise Unauthorized unless there is the API key, and its role outranks the user's, as when they signed in."""
        if role.key_role_id is None:
            raise Unauthorized("The API key of this token has been deleted.")
        above = role.key_role_id, find_grants(connection, role.key_role_id)
        if not self.ranks.outranks(org_id, above, (role.role_id, role.permission_grants)):
            raise Unauthorized("The API key of this token does not outrank its user any more.")


def _load_extras(connection: Connection, user_id: str) -> tuple[Extra, ...]:
    found = temporary_grants.list_grants_of(connection, user_id)
    parsed = grants.parse([{"permission_name": row.permission_name, "conditions": row.conditions} for row in found])
    return tuple(Extra(grant, row.expires_at) for grant, row in zip(parsed, found, strict=True))


def confirm_actor(connection: Connection, actor: Actor) -> None:
    """Check that a remembered caller still has their standing: their role, grants for some time, and API key.

    Nothing else is asked here, for a shortcut compares the standing alone: another condition is another field of it.

    Raises:
        StaleActor: the caller has others, or is gone.
    """
    if users.find_standing(connection, actor.org_id, actor.user_id, actor.key_id) != actor.standing:
        raise StaleActor
