"""Deleted organizations: out of sight in one transaction, then removed in portions, every row of every table."""

import sqlalchemy as sa
from sqlalchemy import Table
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.storage.clusters import Clusters
from tertulia.storage.database.units import Database
from tertulia.storage.job import Job, enqueue_taken
from tertulia.storage.tables import (
    api_keys,
    directory,
    identities,
    jobs,
    mail_tokens,
    maintenance,
    metadata,
    organizations,
    roles,
    search_progress,
    signing_keys,
    statistics_progress,
    temporary_grants,
    users,
    workers,
)

ERASE_ORGANIZATION = "erase-organization"
"""The kind of job that removes the rest of a deleted organization."""

PORTION_ROWS = 200
"""Rows that one transaction removes at most."""

_INSTALLATION = {directory, maintenance, search_progress, signing_keys, statistics_progress, workers}
"""Tables that no organization has rows in, but for its entry of the directory, which goes with the last."""

_LAST = {jobs, organizations, roles, users}
"""Tables whose rows go together: until then the deletion can be asked for again, by the same caller."""

_FIRST = [table for table in reversed(metadata.sorted_tables) if table not in _INSTALLATION | _LAST]


def begin_deletion(connection: Connection, org_id: str, caller_id: str) -> Job:
    """Make an organization be gone, for all but the caller, who may ask again. Return the job, taken, of the rest."""
    gone = sa.update(organizations).where(organizations.c.org_id == org_id, organizations.c.deleted_at.is_(None))
    connection.execute(gone.values(deleted_at=clock.now()))
    for table in (api_keys, identities, mail_tokens, temporary_grants):
        connection.execute(sa.delete(table).where(table.c.org_id == org_id))
    connection.execute(sa.delete(users).where(users.c.org_id == org_id, users.c.id != caller_id))
    connection.execute(sa.delete(jobs).where(jobs.c.org_id == org_id))
    return enqueue_taken(connection, org_id, ERASE_ORGANIZATION, {})


def erase_organization_portion(connection: Connection, org_id: str) -> bool:
    """Remove a portion of a deleted organization. Return True if there may be more."""
    return any(_remove_some(connection, table, org_id) for table in _FIRST)


def end_deletion(connection: Connection, org_id: str) -> None:
    """Remove what is left of a deleted organization, itself at last; nothing if it is not deleted."""
    this = sa.select(organizations.c.org_id).where(
        organizations.c.org_id == org_id, organizations.c.deleted_at.is_not(None)
    )
    if connection.execute(this.with_for_update()).first() is None:
        return
    while erase_organization_portion(connection, org_id):  # of what came in meanwhile
        pass
    for table in (jobs, users, roles, organizations):
        connection.execute(sa.delete(table).where(table.c.org_id == org_id))


def is_being_deleted(connection: Connection, org_id: str) -> bool:
    """Return True if an organization was deleted and the rest of it is still there."""
    query = sa.select(organizations.c.deleted_at).where(organizations.c.org_id == org_id)
    return connection.execute(query).scalar() is not None


async def erase_organization(clusters: Clusters, database: Database, org_id: str) -> None:
    """Remove all that is left of a deleted organization; nothing if it is not deleted. Safe to repeat."""
    if not await database.read(is_being_deleted, org_id):
        return
    while await database.write(erase_organization_portion, org_id):
        pass
    await clusters.forget(org_id)
    await database.write(end_deletion, org_id)


def _remove_some(connection: Connection, table: Table, org_id: str) -> bool:
    """Remove as many rows as a portion has. Return True if there were any."""
    keys = list(table.primary_key.columns)
    some = sa.select(*keys).where(table.c.org_id == org_id).limit(PORTION_ROWS)
    key = keys[0] if len(keys) == 1 else sa.tuple_(*keys)
    return connection.execute(sa.delete(table).where(key.in_(some))).rowcount > 0
