"""The sessions of a process that outlast a request: each ends with its token, its key, its user or their role.

One look a moment asks for all of them, so that a revocation on any host ends them on every host within a second.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.auth.tokens import Claims
from tertulia.errors import Unavailable
from tertulia.storage.api_key import list_key_roles
from tertulia.storage.database.units import Database
from tertulia.storage.user import list_role_ids

LOOK_S = 0.5
"""The time between two looks, in seconds."""

AT_ONCE = 500
"""Sessions that one statement asks for."""

EXPIRED = "the token has expired"
USER_GONE = "the user is not there any more"
OTHER_ROLE = "the user has another role"
KEY_GONE = "the API key is not there any more"
OTHER_KEY_ROLE = "the API key has another role"


@dataclass(slots=True, eq=False)
class _Session:
    """A session, and the way to end it with a reason. Its roles are those of the first look."""

    database: Database
    claims: Claims
    end: Callable[[str], None]
    role_id: str | None = None
    key_role_id: str | None = None

    def reason_to_end(self, roles: dict[str, str], key_roles: dict[str, str]) -> str | None:
        """Return the reason why the session ends, or None; the roles are those of the users and keys that there are."""
        role_id = roles.get(self.claims.user_id)
        if role_id is None:
            return USER_GONE
        key_role_id = key_roles.get(self.claims.key_id or "")
        if self.claims.key_id and key_role_id is None:
            return KEY_GONE
        if role_id != (self.role_id or role_id):
            return OTHER_ROLE
        if key_role_id != (self.key_role_id or key_role_id):
            return OTHER_KEY_ROLE
        self.role_id, self.key_role_id = role_id, key_role_id
        return None


class Sessions:
    """The sessions of a process."""

    def __init__(self) -> None:
        self._open: set[_Session] = set()

    @asynccontextmanager
    async def watch(self, database: Database, claims: Claims, end: Callable[[str], None]) -> AsyncGenerator[None]:
        """Watch a session while the block runs: `end` is called with the reason when it has to end."""
        session = _Session(database, claims, end)
        self._open.add(session)
        try:
            await self._look_at([session])
            yield
        finally:
            self._open.remove(session)

    async def look(self) -> None:
        """Look at all sessions, and end those that have to.

        Raises:
            Unavailable: a database cannot be reached; the sessions of the others have been looked at all the same.
        """
        failure: Unavailable | None = None
        for sessions in self._by_organization():
            try:
                for start in range(0, len(sessions), AT_ONCE):
                    await self._look_at(sessions[start : start + AT_ONCE])
            except Unavailable as error:
                failure = error
        if failure is not None:
            raise failure

    def _by_organization(self) -> Iterable[Sequence[_Session]]:
        """End the sessions whose token has expired. Return the others, those of each organization together."""
        now, groups = clock.now(), defaultdict[tuple[Database, str], list[_Session]](list)
        for session in list(self._open):
            if session.claims.expires_at <= now:
                session.end(EXPIRED)
            else:
                groups[session.database, session.claims.org_id].append(session)
        return groups.values()

    async def _look_at(self, sessions: Sequence[_Session]) -> None:
        """Look at sessions of one organization, and end those that have to."""
        database = sessions[0].database
        user_ids = sorted({session.claims.user_id for session in sessions})
        key_ids = sorted({session.claims.key_id for session in sessions if session.claims.key_id})
        roles, key_roles = await database.read(_find, sessions[0].claims.org_id, user_ids, key_ids)
        for session in sessions:
            reason = session.reason_to_end(roles, key_roles)
            if reason is not None:
                session.end(reason)


def _find(
    connection: Connection, org_id: str, user_ids: Sequence[str], key_ids: Sequence[str]
) -> tuple[dict[str, str], dict[str, str]]:
    key_roles = list_key_roles(connection, org_id, key_ids) if key_ids else {}
    return list_role_ids(connection, org_id, user_ids), key_roles
