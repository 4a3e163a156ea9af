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


@dataclass(slots=True)
class _Session:
    """A session, and the way to end it with a reason. Its roles are those of the first look."""

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


_Place = tuple[int, str]
"""A database and an organization in it."""


class Sessions:
    """The sessions of a process."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[Database, _Session]] = {}

    @asynccontextmanager
    async def watch(self, database: Database, claims: Claims, end: Callable[[str], None]) -> AsyncGenerator[None]:
        """Watch a session while the block runs: `end` is called with the reason when it has to end."""
        session = _Session(claims, end)
        self._open[id(session)] = database, session
        try:
            await self._look_at(database, [session])
            yield
        finally:
            del self._open[id(session)]

    async def look(self) -> None:
        """Look at all sessions, and end those that have to.

        Raises:
            Unavailable: a database cannot be reached; the sessions of the others have been looked at all the same.
        """
        failure: Unavailable | None = None
        for database, sessions in self._by_organization():
            try:
                for start in range(0, len(sessions), AT_ONCE):
                    await self._look_at(database, sessions[start : start + AT_ONCE])
            except Unavailable as error:
                failure = error
        if failure is not None:
            raise failure

    def _by_organization(self) -> Iterable[tuple[Database, Sequence[_Session]]]:
        """End the sessions whose token has expired. Return the others, by the organization that they are of."""
        now, groups = clock.now(), defaultdict[_Place, list[_Session]](list)
        databases: dict[int, Database] = {}
        for database, session in list(self._open.values()):
            if session.claims.expires_at <= now:
                session.end(EXPIRED)
            else:
                databases[id(database)] = database
                groups[id(database), session.claims.org_id].append(session)
        return [(databases[place], sessions) for (place, _), sessions in groups.items()]

    async def _look_at(self, database: Database, sessions: Sequence[_Session]) -> None:
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
