"""The maintenance of the installation, as a worker knows it: while it lasts, every request is answered with 503."""

import asyncio

import structlog

from tertulia.errors import Unavailable
from tertulia.storage.database.units import Database
from tertulia.storage.maintenance import is_under_maintenance

WATCH_S = 1.0
"""The time between two looks, in seconds."""

RETRY_AFTER_S = 30

log = structlog.get_logger()


class Maintenance:
    """The knowledge of this worker, kept up to date by `watch`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._on = False

    def refuse(self) -> None:
        """Raise Unavailable while the installation is under maintenance."""
        if self._on:
            raise Unavailable("The service is under maintenance.", RETRY_AFTER_S)

    async def watch(self) -> None:
        """Ask the database now, and again and again until cancelled."""
        while True:
            try:
                self._on = await self._database.read(is_under_maintenance)
            except Exception as error:  # noqa: BLE001 - the last answer holds until the next one
                log.warning("maintenance not known", reason=repr(error))
            await asyncio.sleep(WATCH_S)
