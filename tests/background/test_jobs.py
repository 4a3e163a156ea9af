"""Jobs: done once, whatever dies or fails meanwhile; what cannot be done is there to be seen."""

import asyncio
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.background import jobs as worker
from tertulia.background.jobs import ATTEMPTS, JobKind, JobWorker, Work, renewed
from tertulia.errors import Unavailable
from tertulia.storage import job as jobs
from tertulia.storage import tables
from tertulia.storage.database.units import QUEUE_S, Database
from tertulia.storage.job import Job, StaleJob
from tertulia.storage.maintenance import is_under_maintenance, set_maintenance

pytestmark = pytest.mark.both_databases

PATIENCE_S = 20


@pytest.fixture(autouse=True)
def no_jobs(database: Database) -> None:
    """The module's database has no jobs of another test."""
    with database.engine.begin() as connection:
        connection.execute(sa.delete(tables.jobs))


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> "Time":
    passing = Time()
    monkeypatch.setattr(clock, "now", lambda: passing.now)
    return passing


class Time:
    """Stands still but where a test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2030, 1, 1, tzinfo=clock.EPOCH.tzinfo)

    def passes(self, by: timedelta) -> None:
        self.now += by


class Doer:
    """Does jobs of a kind; fails, or waits, as it is told to. Their effect is a letter in `done` that is committed."""

    def __init__(self, database: Database, name: str = "post", at_once: int = 2) -> None:
        self.database = database
        self.done: list[str] = []
        self.begun = asyncio.Semaphore(0)
        self.fails = False
        self.held: asyncio.Event | None = None
        self.kind = JobKind(name, self.do, at_once)

    async def do(self, work: Work) -> None:
        self.begun.release()
        if self.held is not None:
            await self.held.wait()
        if self.fails:
            raise RuntimeError("the post is closed")
        await work.end(lambda _: self.done.append(work.job.payload["letter"]))

    async def write(self, *letters: str) -> None:
        for letter in letters:
            await self.database.write(jobs.enqueue, "org", self.kind.name, {"letter": letter})

    async def settled(self, *others: "Doer") -> None:
        """Look, and wait until what was begun has ended."""
        looked = JobWorker(self.database, [self.kind, *(other.kind for other in others)])
        await looked.look()
        running = [task for task in asyncio.all_tasks() if task.get_name().startswith("jobs ")]
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*running)


async def left(database: Database) -> list[Job]:
    return await database.read(jobs.list_jobs)


async def test_jobs_are_done_in_the_order_in_which_they_became_due(database: Database, time: Time) -> None:
    doer = Doer(database, at_once=1)
    for letter in "abc":
        await doer.write(letter)
        time.passes(timedelta(seconds=1))

    await doer.settled()

    assert doer.done == ["a", "b", "c"]
    assert await left(database) == []


async def test_a_job_is_not_done_before_it_is_due(database: Database, time: Time) -> None:
    doer = Doer(database)
    tomorrow = time.now + timedelta(days=1)
    await database.write(jobs.enqueue, "org", doer.kind.name, {"letter": "a"}, tomorrow)

    await doer.settled()
    assert doer.done == []

    time.passes(timedelta(days=1))
    await doer.settled()
    assert doer.done == ["a"]


async def test_a_job_of_a_transaction_that_failed_was_never_there(database: Database) -> None:
    def unit(connection: Connection) -> None:
        jobs.enqueue(connection, "org", "post", {"letter": "a"})
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await database.write(unit)

    assert await left(database) == []


async def test_of_two_workers_one_gets_a_job(database: Database) -> None:
    await Doer(database).write("a")

    taken = await asyncio.gather(
        *(database.write(jobs.take_job, "post") for _ in range(2)),
    )

    assert [job is None for job in taken].count(True) == 1


async def test_who_has_lost_a_job_leaves_no_effect(database: Database, time: Time) -> None:
    doer = Doer(database)
    await doer.write("a")
    slow = await database.write(jobs.take_job, "post")
    assert slow is not None
    time.passes(jobs.LEASE)
    await doer.settled()

    with pytest.raises(StaleJob):
        await Work(database, slow).end(set_maintenance, on=True)
    with pytest.raises(StaleJob):
        await database.write(jobs.postpone_job, slow, time.now, "too late")

    assert doer.done == ["a"]
    assert not await database.read(is_under_maintenance)
    assert await left(database) == []


async def test_an_effect_that_fails_leaves_the_job(database: Database, time: Time) -> None:
    await Doer(database).write("a")
    taken = await database.write(jobs.take_job, "post")
    assert taken is not None

    def effect(connection: Connection) -> None:
        set_maintenance(connection, on=True)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Work(database, taken).end(effect)

    assert not await database.read(is_under_maintenance)
    assert [job.id for job in await left(database)] == [taken.id]


async def test_what_fails_is_tried_again_later_and_later(database: Database, time: Time) -> None:
    doer = Doer(database)
    doer.fails = True
    await doer.write("a")
    pauses = []
    for _ in range(4):
        await doer.settled()
        [job] = await left(database)
        assert job.due_at is not None
        pauses.append(job.due_at - time.now)
        time.passes(pauses[-1])
    doer.fails = False
    await doer.settled()

    assert [first < second for first, second in zip(pauses, pauses[2:], strict=False)] == [True, True]
    assert min(pauses) >= timedelta(seconds=worker.FIRST_PAUSE_S / 2)
    assert doer.done == ["a"]


async def test_a_job_that_fails_too_often_is_dead_until_an_operator_revives_it(database: Database, time: Time) -> None:
    doer = Doer(database)
    doer.fails = True
    await doer.write("a")
    for _ in range(ATTEMPTS):
        await doer.settled()
        time.passes(timedelta(seconds=worker.LONGEST_PAUSE_S))

    [dead] = await left(database)
    assert (dead.due_at, dead.attempts, dead.error) == (None, ATTEMPTS, "RuntimeError('the post is closed')")
    doer.fails = False
    await doer.settled()
    assert doer.done == []

    assert await database.write(jobs.revive_jobs, "another") == 0
    assert await database.write(jobs.revive_jobs, dead.id) == 1
    await doer.settled()
    assert doer.done == ["a"]


async def test_a_job_that_takes_too_long_has_failed(database: Database, time: Time) -> None:
    doer = Doer(database)
    doer.held = asyncio.Event()
    doer.kind = JobKind("post", doer.do, limit_s=0)
    await doer.write("a")

    await doer.settled()

    [job] = await left(database)
    assert job.error == "TimeoutError()"
    assert job.due_at is not None
    assert job.due_at > time.now


async def test_a_job_that_is_broken_off_is_due_when_its_lease_ends(database: Database, time: Time) -> None:
    doer = Doer(database)
    doer.held = asyncio.Event()
    await doer.write("a")
    dying = JobWorker(database, [doer.kind])
    await dying.look()
    async with asyncio.timeout(PATIENCE_S):
        await doer.begun.acquire()
    await dying.aclose()
    doer.held = None

    await doer.settled()
    assert doer.done == []

    time.passes(jobs.LEASE)
    await doer.settled()
    assert doer.done == ["a"]


async def test_a_dead_process_keeps_a_job_for_less_than_a_minute() -> None:
    assert timedelta(seconds=60) >= jobs.LEASE
    lost_s = worker.RENEWALS_THAT_MAY_FAIL * (QUEUE_S + worker.RETRY_S)
    assert timedelta(seconds=worker.RENEW_S + lost_s + QUEUE_S) < jobs.LEASE


async def due_after(database: Database, moment: datetime) -> None:
    """Wait until the only job is due after a moment."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            [job] = await left(database)
            if job.due_at is not None and job.due_at > moment:
                return


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have leases renewed often: each lasts as long as ever."""
    monkeypatch.setattr(worker, "RENEW_S", 0.01)
    monkeypatch.setattr(worker, "RETRY_S", 0.01)


@pytest.mark.usefixtures("quickly")
async def test_a_job_that_runs_for_longer_than_its_lease_is_not_taken_twice(database: Database, time: Time) -> None:
    doer = Doer(database)
    doer.held = asyncio.Event()
    await doer.write("a")
    working = JobWorker(database, [doer.kind])
    await working.look()
    async with asyncio.timeout(PATIENCE_S):
        await doer.begun.acquire()

    for _ in range(3):
        time.passes(jobs.LEASE - timedelta(seconds=1))
        await due_after(database, time.now)
        assert await database.write(jobs.take_job, doer.kind.name) is None

    doer.held.set()
    async with asyncio.timeout(PATIENCE_S):
        while await left(database):
            pass
    await working.aclose()
    assert doer.done == ["a"]


@pytest.mark.usefixtures("quickly")
async def test_a_process_that_wakes_after_its_lease_neither_renews_nor_writes(database: Database, time: Time) -> None:
    doer = Doer(database)
    await doer.write("a")
    frozen = await database.write(jobs.take_job, doer.kind.name)
    assert frozen is not None
    time.passes(jobs.LEASE)
    taken = await database.write(jobs.take_job, doer.kind.name)
    assert taken is not None

    with pytest.raises(StaleJob):
        await database.write(jobs.renew_lease, frozen)
    async with renewed(Work(database, frozen)):
        with pytest.raises(StaleJob):
            await Work(database, frozen).end(set_maintenance, on=True)

    await Work(database, taken).end(lambda _: doer.done.append("a"))
    assert doer.done == ["a"]
    assert not await database.read(is_under_maintenance)


@pytest.mark.usefixtures("quickly")
async def test_a_renewal_that_fails_is_tried_again_before_the_next_one_is_due(
    database: Database, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    doer = Doer(database)
    await doer.write("a")
    taken = await database.write(jobs.take_job, doer.kind.name)
    assert taken is not None
    renew_lease, failures = (
        jobs.renew_lease,
        [Unavailable("The database cannot be reached.")] * worker.RENEWALS_THAT_MAY_FAIL,
    )

    def fails_at_first(connection: Connection, job: Job) -> None:
        if failures:
            monkeypatch.setattr(worker, "RENEW_S", 3600.0)
            raise failures.pop()
        renew_lease(connection, job)

    monkeypatch.setattr(jobs, "renew_lease", fails_at_first)
    time.passes(timedelta(seconds=30))
    async with renewed(Work(database, taken)):
        await due_after(database, time.now + timedelta(seconds=30))

    assert failures == []


@pytest.mark.usefixtures("quickly")
async def test_work_that_is_cancelled_while_a_renewal_runs_ends_as_cancelled(
    database: Database, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Doer(database).write("a")
    taken = await database.write(jobs.take_job, "post")
    assert taken is not None
    writes, breaks_off, goes_on = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def never_written(*_: object) -> None:
        writes.set()
        try:
            await asyncio.Event().wait()
        finally:
            breaks_off.set()
            await goes_on.wait()

    async def work() -> None:
        async with renewed(Work(database, taken)):
            await writes.wait()

    monkeypatch.setattr(database, "write", never_written)
    working = asyncio.create_task(work())
    await breaks_off.wait()
    working.cancel()
    goes_on.set()

    with pytest.raises(asyncio.CancelledError):
        await working


async def test_a_kind_that_hangs_leaves_room_for_the_others(database: Database) -> None:
    slow, quick = Doer(database, "slow"), Doer(database, "quick")
    slow.held = asyncio.Event()
    await slow.write(*"abcdefgh")
    await quick.write("i")
    looking = JobWorker(database, [slow.kind, quick.kind])

    for _ in range(6):
        await looking.look()
    async with asyncio.timeout(PATIENCE_S):
        for _ in range(slow.kind.at_once):
            await slow.begun.acquire()
        await quick.begun.acquire()
        while quick.done != ["i"]:
            await looking.look()

    assert slow.begun.locked()  # no more than at_once have begun
    slow.held.set()
    await looking.aclose()
