"""A process that does jobs until it is killed; the effect of each is a row."""

import asyncio
import random
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from tertulia.background import jobs as worker
from tertulia.background.jobs import JobKind, JobWorker, Work
from tertulia.storage import job as jobs
from tertulia.storage.database.units import open_database

effects = sa.Table("effects", sa.MetaData(), sa.Column("letter", sa.Text, nullable=False))

LIMIT_S = 5.0
"""The longest time of a job."""

LEASE_S = 0.6
"""So much later a job is due again if its process has died, or is frozen."""


async def post(work: Work) -> None:
    """Take a moment, as long as the job says at most, then note its letter."""
    await asyncio.sleep(random.uniform(0, work.job.payload["takes_s"]))
    await work.end(_note, work.job.payload["letter"])


def _note(connection: sa.Connection, letter: str) -> None:
    connection.execute(sa.insert(effects).values(letter=letter))


def live(url: str, control: Any) -> None:
    """Do jobs; say when the first look has been taken."""
    jobs.LEASE = timedelta(seconds=LEASE_S)
    worker.RENEW_S = LEASE_S / 4
    worker.RETRY_S = LEASE_S / 20
    worker.LONGEST_PAUSE_S = 0.1  # a slow disk may make a job fail; the pauses of the product would outlast the test
    asyncio.run(_live(url, control))


async def _live(url: str, control: Any) -> None:
    working = JobWorker(open_database(url, 4), [JobKind("post", post, at_once=4, limit_s=LIMIT_S)])
    await working.look()
    control.send("works")
    while True:
        await working.look()
        await asyncio.sleep(0.01)
