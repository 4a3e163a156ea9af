"""The caller of a request: a user, the role they have, and so what they may do."""

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement
from sqlalchemy.engine import Connection

from tertulia.auth import grants
from tertulia.auth.grants import SELF_ORG_ID, SELF_USER_ID, Grant
from tertulia.auth.permissions import Permission
from tertulia.errors import Forbidden, Unauthorized
from tertulia.storage import user
from tertulia.storage.versioned import Author


@dataclass(frozen=True, slots=True)
class Actor:
    """A user of an organization and what their role grants."""

    org_id: str
    user_id: str
    role_id: str
    role_name: str
    grants: tuple[Grant, ...]

    def may(self, permission: Permission, target: Mapping[str, object]) -> bool:
        """Whether they have a permission on a target with these attributes."""
        return grants.decide(self.grants, permission, target, self._self)

    def require(self, permission: Permission, target: Mapping[str, object]) -> None:
        """Raise Forbidden unless they have a permission on a target with these attributes."""
        if not self.may(permission, target):
            raise Forbidden(f"You need the permission {permission}.")

    def visible(self, permission: Permission, columns: Mapping[str, ColumnElement[Any]]) -> ColumnElement[bool]:
        """The rows on which they have a permission; `columns` are a row's attributes."""
        return grants.visible(self.grants, permission, columns, self._self)

    @property
    def author(self) -> Author:
        """The name under which the caller makes and changes things."""
        return Author(self.org_id, self.user_id)

    @property
    def _self(self) -> dict[str, str]:
        return {SELF_ORG_ID: self.org_id, SELF_USER_ID: self.user_id}


class StaleActor(Exception):
    """The user has another role by now, or is gone."""


REMEMBERED = 10_000
REMEMBERED_S = 60.0
REMEMBERED_ROLES = 1000


class Actors:
    """Callers of the last minute: at most so many, and each for so many seconds.

    Who acts by what is remembered has it confirmed in the transaction that writes, and acts anew where it is stale.
    """

    def __init__(self) -> None:
        self._actors: OrderedDict[tuple[str, str], tuple[Actor, float]] = OrderedDict()

    def find(self, org_id: str, user_id: str) -> Actor | None:
        """A caller that is remembered."""
        actor, until = self._actors.get((org_id, user_id), (None, 0.0))
        return actor if time.monotonic() < until else None

    def remember(self, actor: Actor) -> None:
        """Remember a caller that has just been loaded."""
        self._actors[actor.org_id, actor.user_id] = (actor, time.monotonic() + REMEMBERED_S)
        if len(self._actors) > REMEMBERED:
            self._actors.popitem(last=False)


def confirm_actor(connection: Connection, actor: Actor) -> None:
    """See that a remembered caller still has their role.

    Raises:
        StaleActor: they have not.
    """
    if user.find_role_id(connection, actor.org_id, actor.user_id) != actor.role_id:
        raise StaleActor


def load_actor(connection: Connection, org_id: str, user_id: str) -> Actor:
    """The user that a token names, with the role they have now.

    Raises:
        Unauthorized: there is no such user any more.
    """
    row = user.find_role(connection, org_id, user_id)
    if row is None:
        raise Unauthorized("The user of this token does not exist.")
    return Actor(org_id, user_id, row["role_id"], row["role_name"], _grants(row["role_id"], row["permission_grants"]))


_parsed: dict[str, tuple[object, tuple[Grant, ...]]] = {}


def _grants(role_id: str, stored: object) -> tuple[Grant, ...]:
    """A role's grants, parsed once for all who have the role."""
    known, parsed = _parsed.get(role_id, (None, ()))
    if known == stored:
        return parsed
    if len(_parsed) >= REMEMBERED_ROLES:
        _parsed.clear()
    parsed = grants.parse(stored)
    _parsed[role_id] = (stored, parsed)
    return parsed
