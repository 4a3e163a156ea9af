"""The worker of jobs: takes jobs that are due, a few of each kind at once, and tries failed jobs again.

A job's kind names the function that does the job. The function commits the effect by `Work.end`, which ends the job in
the same transaction: if a process dies meanwhile, the effect is there once all the same. While a job is done its lease
is renewed, so another process takes it only if this one is dead, frozen, or cut off from the database.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Concatenate, ParamSpec

import structlog
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.storage import job as jobs
from tertulia.storage.database.units import Database
from tertulia.storage.job import Job, StaleJob

log = structlog.get_logger()

P = ParamSpec("P")

POLL_S = 0.25
"""The time between two looks for jobs that are due, in seconds: one read each."""

RENEW_S = 10.0
"""The time between two renewals of a job's lease, in seconds."""

RETRY_S = 2.0
"""The time after which a renewal that failed is tried again, in seconds."""

RENEWALS_THAT_MAY_FAIL = 3
"""Renewals that may fail one after the other, each after waiting for a connection in vain, before the lease ends."""

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 3600.0
"""The first and the longest pause after a failure, in seconds. Each failure doubles it; half is left to chance."""

ATTEMPTS = 10
"""A job that fails when it was taken so often is dead, until an operator revives it. A lost process counts as well."""


class JobFailed(Exception):
    """A failure of a job, with what is stored of it in the transaction that says when the job is due again."""

    def __init__(self, reason: Exception, note: Callable[[Connection], object]) -> None:
        super().__init__(reason)
        self.reason = reason
        self.note = note


@dataclass(frozen=True, slots=True)
class Work:
    """A job that this process has taken, and the cluster that it is in."""

    database: Database
    job: Job

    async def end(self, unit: Callable[Concatenate[Connection, P], object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Commit the job's effect and its end together.

        Raises:
            StaleJob: another worker has taken the job since, or has ended it; nothing is committed.
        """
        await self.database.write(self._end, lambda connection: unit(connection, *args, **kwargs))

    def _end(self, connection: Connection, effect: Callable[[Connection], object]) -> None:
        jobs.end_job(connection, self.job)
        effect(connection)


@asynccontextmanager
async def renewed(work: Work) -> AsyncGenerator[None]:
    """Renew the lease of a job while the block runs."""
    renewing = asyncio.create_task(_renew(work), name=f"lease of {work.job.id}")
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.wait({renewing})


async def _renew(work: Work) -> None:
    """Renew a lease until the job has ended, or another process has it; its end will find out which."""
    pause_s = RENEW_S
    while True:
        await asyncio.sleep(pause_s)
        pause_s = RENEW_S
        try:
            await work.database.write(jobs.renew_lease, work.job)
        except StaleJob:
            return
        except Exception as error:  # noqa: BLE001 - the next renewal may come in time
            pause_s = RETRY_S
            log.warning("lease of a job not renewed", kind=work.job.kind, job=work.job.id, reason=repr(error))


def no_effect(_connection: Connection) -> None:
    """Change nothing: the effect of a job that has nothing to store at its end."""


@dataclass(frozen=True, slots=True)
class JobKind:
    """A kind of job: its name, the function that does it, how many run at once in a process, and how long one may."""

    name: str
    do: Callable[[Work], Awaitable[None]]
    at_once: int = 2
    limit_s: float = 300.0


class JobWorker:
    """The worker of one cluster in this process."""

    def __init__(self, database: Database, kinds: Sequence[JobKind]) -> None:
        self._database = database
        self._kinds = kinds
        self._running: dict[str, set[asyncio.Task[None]]] = {kind.name: set() for kind in kinds}

    async def look(self) -> None:
        """Start one more task for each kind that has a job due and room for a task."""
        due = await self._database.read(jobs.list_due_kinds, tuple(kind.name for kind in self._kinds))
        for kind in self._kinds:
            running = self._running[kind.name]
            if kind.name in due and len(running) < kind.at_once:
                task = asyncio.create_task(self._do_all(kind), name=f"jobs {kind.name}")
                running.add(task)
                task.add_done_callback(running.discard)

    async def aclose(self) -> None:
        """Break off the jobs that run; they are due again when their leases end."""
        tasks = [task for running in self._running.values() for task in running]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError, Exception):
                await task

    async def _do_all(self, kind: JobKind) -> None:
        """Do the jobs of a kind, one after the other, until none is due."""
        while (job := await self._database.write(jobs.take_job, kind.name)) is not None:
            await self._do(kind, job)

    async def _do(self, kind: JobKind, job: Job) -> None:
        work = Work(self._database, job)
        try:
            async with asyncio.timeout(kind.limit_s), renewed(work):
                await kind.do(work)
        except StaleJob:
            log.info("job taken over", kind=job.kind, job=job.id)
        except Exception as error:  # noqa: BLE001 - a job is tried again after any error
            await self._fail(job, error)

    async def _fail(self, job: Job, error: Exception) -> None:
        note: Callable[[Connection], object] | None = None
        if isinstance(error, JobFailed):
            error, note = error.reason, error.note
        is_dead = job.attempts >= ATTEMPTS
        tell = log.error if is_dead else log.warning
        tell("job dead" if is_dead else "job failed", kind=job.kind, job=job.id, times=job.attempts, reason=repr(error))
        due_at = None if is_dead else clock.now() + pause_after(job.attempts)
        with suppress(StaleJob):
            await self._database.write(_postpone, job, due_at, repr(error), note)


def _postpone(
    connection: Connection, job: Job, due_at: datetime | None, error: str, note: Callable[[Connection], object] | None
) -> None:
    """Say when a job that has failed is due again, and store what its kind notes of that."""
    if note is not None:
        note(connection)
    jobs.postpone_job(connection, job, due_at, error)


def pause_after(attempts: int) -> timedelta:
    """Say how long to wait after so many failures. Return the pause."""
    pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** (attempts - 1))
    return timedelta(seconds=pause_s * random.uniform(0.5, 1))  # noqa: S311 - so that failures do not come back together
