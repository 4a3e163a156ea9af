"""Ranks of roles: two are compared once, for as long as neither changes."""

from tertulia.auth import grants
from tertulia.auth.grants import Grant

REMEMBERED_ROLES = 1000

Held = tuple[Grant, ...]
"""The grants of a role."""

StoredRole = tuple[str, object]
"""The identifier of a role, and its grants as they are stored."""


class Ranks:
    """The ranks of the roles of callers and keys, remembered by a process.

    Several threads may ask: what two work out at once is the same.
    """

    def __init__(self) -> None:
        self._grants: dict[str, tuple[object, Held]] = {}
        self._ranks: dict[tuple[str, str, str], tuple[Held, Held, bool]] = {}

    def parse(self, role: StoredRole) -> Held:
        """Parse a role's grants, once for all who have the role. Return them."""
        role_id, permission_grants = role
        known, parsed = self._grants.get(role_id, (None, ()))
        if known == permission_grants:
            return parsed
        if len(self._grants) >= REMEMBERED_ROLES:
            self._grants.clear()
        parsed = grants.parse(permission_grants)
        self._grants[role_id] = (permission_grants, parsed)
        return parsed

    def outranks(self, org_id: str, above: StoredRole, below: StoredRole) -> bool:
        """Return whether one role may do all that another of the organization may, and more."""
        held = self.parse(above), self.parse(below)
        key = org_id, above[0], below[0]
        *known, outranks = self._ranks.get(key, ((), (), False))
        if known[0] is not held[0] or known[1] is not held[1]:
            if len(self._ranks) >= REMEMBERED_ROLES:
                self._ranks.clear()
            outranks = grants.outranks(*(grants.within(each, org_id) for each in held))
            self._ranks[key] = *held, outranks
        return outranks
