"""The warning of API keys that end soon, in the log: a week before, and a day before."""

import structlog

from tertulia.auth.api_keys import warn_of_keys
from tertulia.storage.database.units import Database

LOOK_S = 600.0
"""The time between two looks, in seconds."""

_log = structlog.get_logger(__name__)


async def warn(database: Database) -> None:
    """Warn of the keys of a cluster that end soon; of several processes, one does."""
    for key in await database.write(warn_of_keys):
        _log.warning(
            "API key ends soon", org_id=key.org_id, key_id=key.key_id, name=key.name, ends=key.expires_at.isoformat()
        )
