"""Jobs: work that follows from a transaction, written in that transaction; the effect of a job is committed once.

A job that is taken becomes due again when its lease ends, so that none is stuck with a process that died. A process
that lives renews the leases of its jobs. The end of a job and its effect are one transaction, which fails if another
process has taken the job meanwhile.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.ids import new_id
from tertulia.storage.database.prepared import insert
from tertulia.storage.database.rows import columns, find_row, row_of
from tertulia.storage.tables import jobs

LEASE = timedelta(seconds=45)
"""The time for which a job stays with a process that does not renew its lease."""

LISTED = 1000
"""The most jobs that a list has."""

LONGEST_ERROR = 500
"""Characters that are kept of the reason for a failure."""


class StaleJob(Exception):
    """A job whose lease has ended, and that another process has taken."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it is stored. `attempts` counts how often it was taken; a dead job is never due."""

    id: str
    org_id: str
    kind: str
    payload: dict[str, Any]
    attempts: int
    due_at: datetime | None
    lease: str | None
    error: str | None
    created_at: datetime


def enqueue(
    connection: Connection, org_id: str, kind: str, payload: Mapping[str, Any], due_at: datetime | None = None
) -> None:
    """Have a job done once this transaction is committed, at `due_at` at the earliest."""
    _insert(connection, org_id, kind, payload, attempts=0, due_at=due_at or clock.now(), lease=None)


def enqueue_taken(connection: Connection, org_id: str, kind: str, payload: Mapping[str, Any]) -> Job:
    """Write a job that its writer does at once. Return the job, which others take when its lease has ended."""
    return _insert(connection, org_id, kind, payload, attempts=1, due_at=clock.now() + LEASE, lease=new_id())


def _insert(connection: Connection, org_id: str, kind: str, payload: Mapping[str, Any], **state: Any) -> Job:
    row = {"id": new_id(), "org_id": org_id, "kind": kind, "payload": dict(payload), "created_at": clock.now()}
    job = Job(**row, **state, error=None)
    _INSERT.run(connection, row_of(job))
    return job


_INSERT = insert(jobs)
_NEXT = (
    sa.select(*columns(Job, jobs))
    .where(jobs.c.kind == bindparam("kind"), jobs.c.due_at <= bindparam("now"))
    .order_by(jobs.c.due_at)
    .limit(1)
)


def list_due_kinds(connection: Connection, kinds: tuple[str, ...]) -> list[str]:
    """List those of some kinds that have a job which can be taken."""
    row = connection.execute(_is_due(kinds), {"now": clock.now()}).one()
    return [kind for kind, is_due in zip(kinds, row, strict=True) if is_due]


@cache
def _is_due(kinds: tuple[str, ...]) -> sa.Select[Any]:
    """Write the query for one row that says of each kind if a job of it is due."""
    due = sa.select(jobs.c.id).where(jobs.c.due_at <= bindparam("now"))
    asked: list[sa.ColumnElement[Any]] = [due.where(jobs.c.kind == kind).exists() for kind in kinds]
    return sa.select(*asked)


def take_job(connection: Connection, kind: str) -> Job | None:
    """Take the job of a kind that has been due for the longest time. Return it, or None.

    Others can take it again when its lease has ended.
    """
    query = _NEXT.with_for_update(skip_locked=True)
    found = find_row(connection, query, Job, {"kind": kind, "now": clock.now()})
    if found is None:
        return None
    changed = {"attempts": found.attempts + 1, "lease": new_id(), "due_at": clock.now() + LEASE}
    this = jobs.c.id == found.id
    return Job(*connection.execute(sa.update(jobs).where(this).values(changed).returning(*columns(Job, jobs))).one())


def renew_lease(connection: Connection, job: Job) -> None:
    """Keep others from taking a job for the time of a lease.

    Raises:
        StaleJob: another worker has taken the job since, or it has ended.
    """
    values = {"due_at": clock.now() + LEASE}
    _expect_one(connection.execute(sa.update(jobs).where(_held(job)).values(values)))


def end_job(connection: Connection, job: Job) -> None:
    """Forget a job that is done. Its effect belongs into the same transaction.

    Raises:
        StaleJob: another worker has taken the job since, or has ended it.
    """
    _expect_one(connection.execute(sa.delete(jobs).where(_held(job))))


def postpone_job(connection: Connection, job: Job, due_at: datetime | None, error: str) -> None:
    """Note why a job failed. The job is due again at `due_at`, or is dead if there is no `due_at`.

    Raises:
        StaleJob: another worker has taken the job since, or has ended it.
    """
    values = {"due_at": due_at, "lease": None, "error": error[:LONGEST_ERROR]}
    _expect_one(connection.execute(sa.update(jobs).where(_held(job)).values(values)))


def list_jobs(connection: Connection) -> list[Job]:
    """List the jobs that are not done, at most `LISTED`. Return the dead ones first, then those that are due first."""
    query = sa.select(*columns(Job, jobs)).order_by(jobs.c.due_at.asc().nulls_first(), jobs.c.created_at).limit(LISTED)
    return [Job(*row) for row in connection.execute(query)]


def revive_jobs(connection: Connection, job_id: str | None) -> int:
    """Make a dead job due again, or all of them. Return how many there were."""
    dead = jobs.c.due_at.is_(None) if job_id is None else sa.and_(jobs.c.due_at.is_(None), jobs.c.id == job_id)
    return connection.execute(sa.update(jobs).where(dead).values(due_at=clock.now(), attempts=0)).rowcount


def _held(job: Job) -> sa.ColumnElement[bool]:
    return sa.and_(jobs.c.id == job.id, jobs.c.lease == job.lease)


def _expect_one(result: sa.CursorResult[Any]) -> None:
    if not result.rowcount:
        raise StaleJob
