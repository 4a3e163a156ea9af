"""The erasing of deleted organizations whose request has not ended it."""

from contextlib import suppress

from tertulia.background.jobs import JobKind, Work, no_effect
from tertulia.storage import organization_erasure as erasure
from tertulia.storage.clusters import Clusters
from tertulia.storage.job import StaleJob

LIMIT_S = 3600.0
"""The longest time of an erasure, in seconds; what is left then is due again."""


def erase_organizations(clusters: Clusters) -> JobKind:
    """Make the kind of job that removes deleted organizations. Return it."""

    async def erase(work: Work) -> None:
        await erasure.erase_organization(clusters, work.database, work.job.org_id)
        with suppress(StaleJob):  # the job has gone with the organization
            await work.end(no_effect)

    return JobKind(erasure.ERASE_ORGANIZATION, erase, limit_s=LIMIT_S)
