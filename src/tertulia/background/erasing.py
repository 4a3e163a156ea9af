"""The erasing of deleted users: portion by portion, so that other writers wait for one portion at most."""

from tertulia.background.jobs import JobKind, Work
from tertulia.storage import erasure


async def erase_user(work: Work) -> None:
    """Remove all that is left of a deleted user."""
    org_id, user_id = work.job.org_id, str(work.job.payload["user_id"])
    while await work.database.write(erasure.erase_portion, org_id, user_id):
        pass
    await work.end(erasure.erase_rest, org_id, user_id)


ERASE_USER = JobKind(erasure.ERASE_USER, erase_user)
