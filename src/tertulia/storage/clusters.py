"""The storage clusters of an installation, and the directory of the organizations that each holds.

The directory is a table of the default cluster. An organization that it does not know is looked for in the cluster
that the request names, or else in the default one.
"""

import time
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia.errors import NotFound
from tertulia.settings import Settings
from tertulia.storage import organization
from tertulia.storage.database import dialect
from tertulia.storage.database.units import Database, open_database
from tertulia.storage.tables import directory

DEFAULT = "default"

REMEMBERED_S = 30.0
"""The time that an entry of the directory is believed, in seconds."""


class Clusters:
    """Every storage cluster of the settings, open."""

    def __init__(self, settings: Settings) -> None:
        self._databases = {
            name: open_database(url, settings.database.pool_size) for name, url in settings.cluster_urls.items()
        }
        self._entries: dict[str, tuple[str, float]] = {}

    @property
    def default(self) -> Database:
        """The cluster that also has the directory and the signing keys."""
        return self._databases[DEFAULT]

    def open(self, name: str) -> Database:
        """Find a cluster by its name. Return it, or raise NotFound."""
        if name not in self._databases:
            raise NotFound(f"There is no storage cluster {name}.")
        return self._databases[name]

    async def locate(self, org_id: str, named: str | None) -> Database:
        """Find the cluster that holds an organization; `named` is the one that the request asks for. Return it.

        Raises:
            NotFound: there is no such organization or no such cluster, or the organization is in another one.
        """
        database = self.open(named or DEFAULT)
        cluster = await self._find(org_id)
        if cluster is None:
            await database.read(organization.get_organization, org_id)
            return database
        if named is not None and named != cluster:
            raise NotFound(f"The organization {org_id} is not in the storage cluster {named}.")
        return self.open(cluster)

    async def _find(self, org_id: str) -> str | None:
        """Look an organization up in the directory. Return the cluster's name, or None.

        Unknown names are not remembered: callers make up any name they like.
        """
        cluster, until = self._entries.get(org_id, ("", 0.0))
        if time.monotonic() < until:
            return cluster
        found = await self.default.read(find_entry, org_id)
        if found is None:
            self._entries.pop(org_id, None)
        else:
            self._entries[org_id] = (found, time.monotonic() + REMEMBERED_S)
        return found

    @property
    def names(self) -> Sequence[str]:
        """The names of the clusters, the default one first."""
        return list(self._databases)

    async def forget(self, org_id: str) -> None:
        """Take an organization that is gone out of the directory."""
        await self.default.write(remove_entry, org_id)
        self._entries.pop(org_id, None)

    def close(self) -> None:
        """Close every cluster."""
        for database in self._databases.values():
            database.close()


def find_entry(connection: Connection, org_id: str) -> str | None:
    """Look for an organization in the directory. Return the name of its cluster, or None."""
    return connection.execute(sa.select(directory.c.cluster).where(directory.c.org_id == org_id)).scalar()


def put_entry(connection: Connection, org_id: str, cluster: str) -> None:
    """Write into the directory that a cluster holds an organization. The connection is to the default cluster."""
    changed = connection.execute(sa.update(directory).where(directory.c.org_id == org_id).values(cluster=cluster))
    if not changed.rowcount:
        connection.execute(sa.insert(directory), {"org_id": org_id, "cluster": cluster})


def claim_entry(connection: Connection, org_id: str, cluster: str) -> str:
    """Enter an organization into the directory if it is not there. Return the name of the cluster that holds it.

    The connection is to the default cluster. Of several that claim one identifier at once, one is first.
    """
    dialect.lock_schema(connection)
    holder = find_entry(connection, org_id)
    if holder is None:
        put_entry(connection, org_id, cluster)
    return holder or cluster


def remove_entry(connection: Connection, org_id: str) -> None:
    """Take an organization out of the directory. The connection is to the default cluster."""
    connection.execute(sa.delete(directory).where(directory.c.org_id == org_id))
