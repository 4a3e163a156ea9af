"""The caller of a request: a user with a role, and so with permissions."""

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
from tertulia.storage import user as users
from tertulia.storage.user import UserRole
from tertulia.storage.versioned import Author


@dataclass(frozen=True, slots=True)
class Actor:
    """A user of an organization, with the grants of their role."""

    org_id: str
    user_id: str
    role_id: str
    role_name: str
    grants: tuple[Grant, ...]

    def may(self, permission: Permission, target: Mapping[str, object]) -> bool:
        """Return whether the caller has a permission on a target with these attributes."""
        return grants.decide(self.grants, permission, target, self._self)

    def require(self, permission: Permission, target: Mapping[str, object]) -> None:
        """Raise Forbidden unless the caller has a permission on a target with these attributes."""
        if not self.may(permission, target):
            raise Forbidden(f"You need the permission {permission}.")

    def visible(self, permission: Permission, columns: Mapping[str, ColumnElement[Any]]) -> ColumnElement[bool]:
        """Write a condition for the rows on which the caller has a permission. Return it.

        `columns` are the attributes of a row.
        """
        return grants.visible(self.grants, permission, columns, self._self)

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
REMEMBERED_ROLES = 1000


class Actors:
    """The callers of a process: those of the last minute, at most so many, and what their roles grant.

    A remembered caller is confirmed in the transaction that writes, and loaded again if stale.
    """

    def __init__(self) -> None:
        self._actors: OrderedDict[tuple[str, str], tuple[Actor, float]] = OrderedDict()
        self._grants: dict[str, tuple[object, tuple[Grant, ...]]] = {}

    def find(self, org_id: str, user_id: str) -> Actor | None:
        """Look for a caller in memory. Return them, or None."""
        actor, until = self._actors.get((org_id, user_id), (None, 0.0))
        return actor if time.monotonic() < until else None

    def remember(self, actor: Actor) -> None:
        """Remember a caller that has just been loaded."""
        self._actors[actor.org_id, actor.user_id] = (actor, time.monotonic() + REMEMBERED_S)
        if len(self._actors) > REMEMBERED:
            self._actors.popitem(last=False)

    def load(self, connection: Connection, org_id: str, user_id: str) -> Actor:
        """Load the user that a token names. Return them with the role they have now.

        Raises:
            Unauthorized: there is no such user any more.
        """
        role = users.find_role(connection, org_id, user_id)
        if role is None:
            raise Unauthorized("The user of this token does not exist.")
        return Actor(org_id, user_id, role.role_id, role.role_name, self._parse(role))

    def _parse(self, role: UserRole) -> tuple[Grant, ...]:
        """Parse a role's grants, once for all who have the role. Return them."""
        known, parsed = self._grants.get(role.role_id, (None, ()))
        if known == role.permission_grants:
            return parsed
        if len(self._grants) >= REMEMBERED_ROLES:
            self._grants.clear()
        parsed = grants.parse(role.permission_grants)
        self._grants[role.role_id] = (role.permission_grants, parsed)
        return parsed


def confirm_actor(connection: Connection, actor: Actor) -> None:
    """Check that a remembered caller still has their role.

    Raises:
        StaleActor: the caller has another role, or is gone.
    """
    if users.find_role_id(connection, actor.org_id, actor.user_id) != actor.role_id:
        raise StaleActor
