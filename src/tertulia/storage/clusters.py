"""The storage clusters of an installation, and the directory that says which of them holds which organization.

The directory is a table of the default cluster. An organization that it does not know is looked for in the cluster
that the request names, or else in the default one.
"""

import time

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia.errors import NotFound
from tertulia.settings import Settings
from tertulia.storage import organization
from tertulia.storage.database.units import Database, open_database
from tertulia.storage.tables import directory

DEFAULT = "default"

REMEMBERED_S = 30.0
"""How long an entry of the directory is believed, in seconds."""


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
        """A cluster by its name.

        Raises:
            NotFound: there is none.
        """
        if name not in self._databases:
            raise NotFound(f"There is no storage cluster {name}.")
        return self._databases[name]

    async def locate(self, org_id: str, named: str | None) -> Database:
        """The cluster that holds an organization; `named` is the one that the request asks for.

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
        """The directory's entry. What it does not know is asked anew each time: callers make up any name they like."""
        cluster, until = self._entries.get(org_id, ("", 0.0))
        if time.monotonic() < until:
            return cluster
        found = await self.default.read(find_entry, org_id)
        if found is None:
            self._entries.pop(org_id, None)
        else:
            self._entries[org_id] = (found, time.monotonic() + REMEMBERED_S)
        return found

    def close(self) -> None:
        """Close every cluster."""
        for database in self._databases.values():
            database.close()


def find_entry(connection: Connection, org_id: str) -> str | None:
    """The cluster that holds an organization, by the directory."""
    return connection.execute(sa.select(directory.c.cluster).where(directory.c.org_id == org_id)).scalar()


def put_entry(connection: Connection, org_id: str, cluster: str) -> None:
    """Say in the directory which cluster holds an organization. For a connection to the default cluster."""
    changed = connection.execute(sa.update(directory).where(directory.c.org_id == org_id).values(cluster=cluster))
    if not changed.rowcount:
        connection.execute(sa.insert(directory), {"org_id": org_id, "cluster": cluster})
