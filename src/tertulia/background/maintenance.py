"""The maintenance of the installation, as a worker knows it: while it lasts, every request is answered with 503."""

from tertulia.errors import Unavailable
from tertulia.storage.database.units import Database
from tertulia.storage.maintenance import is_under_maintenance

WATCH_S = 1.0
"""The time between two looks, in seconds."""

RETRY_AFTER_S = 30


class Maintenance:
    """The knowledge of this worker, kept up to date by `look`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._on = False

    def refuse(self) -> None:
        """Raise Unavailable while the installation is under maintenance."""
        if self._on:
            raise Unavailable("The service is under maintenance.", RETRY_AFTER_S)

    async def look(self) -> None:
        """Ask the database. If it does not answer, the last answer holds."""
        self._on = await self._database.read(is_under_maintenance)
