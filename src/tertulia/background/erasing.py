"""The erasing of deleted users: portion by portion, so that other writers wait for one portion at most."""

from tertulia.storage import erasure
from tertulia.storage.database.units import Database


async def erase_user(database: Database, org_id: str, user_id: str) -> None:
    """Remove all that is left of a deleted user; safe to repeat, and to run twice at once."""
    while await database.write(erasure.erase_portion, org_id, user_id):
        pass


async def erase_all(database: Database) -> None:
    """Go on with the erasures of a cluster that a process left unfinished."""
    for pending in await database.read(erasure.list_erasures):
        await erase_user(database, pending.org_id, pending.user_id)
