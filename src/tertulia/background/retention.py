"""The removal of what is kept for a time and not longer, a portion in each transaction: others wait for one at most."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.ids import first_id_at
from tertulia.storage import audit, retention
from tertulia.storage.database.units import Database

LOOK_S = 600.0
"""The time between two looks, in seconds."""

LIMIT_S = 3600.0
"""The longest time of a look, in seconds: there is much to remove after a time in which none was."""


async def purge_audit_logs(database: Database, key: bytes, kept: timedelta) -> None:
    """Remove the lines of a cluster's audit logs that are older than `kept`; none if that is zero.

    `key` is the one that chains them.
    """
    if not kept:
        return
    before = clock.now() - kept
    for org_id in await database.read(audit.list_logs):
        while await database.write(audit.purge_lines, key, org_id, before):
            pass


Remove = Callable[[Connection, str, str, datetime], bool]
"""Removes a portion of what an organization has from an id up to a time. Returns True if there may be more."""

_BY_ID: Mapping[str, Remove] = {
    "recordings_days": retention.remove_recordings,
    "traces_days": retention.remove_traces,
    "memories_days": retention.remove_memories,
}


class Keeper:
    """A keeper of what the organizations of a cluster want to be kept, and no longer than that.

    The keeper remembers how far it has come: nothing that is older comes in later.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._reached: dict[tuple[str, str], str] = {}

    async def remove_expired(self) -> None:
        """Remove what is past its time, a portion in each transaction."""
        for org_id, kept in (await self._database.read(retention.list_retentions)).items():
            now = clock.now()
            if kept.conversations_days is not None:
                before = now - timedelta(days=kept.conversations_days)
                while await self._database.write(retention.remove_conversations, org_id, before):
                    pass
            for field, remove in _BY_ID.items():
                days: int | None = getattr(kept, field)
                if days is not None:
                    await self._remove(org_id, field, remove, now - timedelta(days=days))

    async def _remove(self, org_id: str, field: str, remove: Remove, before: datetime) -> None:
        since = self._reached.get((org_id, field), "")
        while await self._database.write(remove, org_id, since, before):
            pass
        self._reached[org_id, field] = first_id_at(before)
