"""The removal of what is kept for a time and not longer, a portion in each transaction: others wait for one at most."""

from datetime import timedelta

from tertulia import clock
from tertulia.storage import audit
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
