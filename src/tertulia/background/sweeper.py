"""The sweeper: frees conversations whose turn died with its process, once the lease has ended."""

from datetime import timedelta

import structlog
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.storage import identity, mail_token, recording, role, share, tool_invocation, tool_version, trace
from tertulia.storage.database.units import Database
from tertulia.storage.turn import idempotency, stream, worker
from tertulia.storage.turn import sweep as leases

log = structlog.get_logger()


async def sweep(database: Database, lease_s: float) -> None:
    """Abandon the turns of a cluster whose lease has ended, and forget keys and workers past their time."""
    freed = await database.write(sweep_unit, timedelta(seconds=lease_s))
    if freed:
        log.info("turns of dead processes abandoned", turns=freed)


async def purge(database: Database, tools_kept: timedelta) -> None:
    """Remove the streams, traces and calls of tools that are past their time, a portion in each transaction.

    `tools_kept` is how long calls are kept, and the code of versions that are out of use; without end if it is zero.

    Recordings that an earlier version has stored whole are split into parts, one in each transaction.
    """
    while await database.write(stream.purge_streams, clock.now()):
        pass
    while await database.write(trace.purge_traces):
        pass
    while await database.write(recording.split_next):
        pass
    if tools_kept:
        before = clock.now() - tools_kept
        while await database.write(tool_invocation.purge_invocations, before):
            pass
        while await database.write(tool_version.purge_snapshot, before):
            pass


def sweep_unit(connection: Connection, lease: timedelta) -> int:
    """Sweep a cluster. Return the number of turns that were abandoned."""
    now = clock.now()
    freed = leases.sweep(connection, now)
    leases.shorten(connection, now + lease)
    idempotency.purge_keys(connection, now)
    worker.purge_workers(connection, now)
    role.purge_roles(connection)
    mail_token.purge_mail_tokens(connection)
    share.purge_shares(connection)
    identity.purge_used_sign_ins(connection)
    return freed
