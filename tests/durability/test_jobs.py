"""Jobs whose processes are killed or frozen at random moments: the effect of each is there exactly once."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from durability import jobbing
from durability.lives import forks
from tertulia.storage import job as jobs
from tertulia.storage.database import dialect
from tertulia.storage.job import Job

pytestmark = [pytest.mark.both_databases, pytest.mark.heavy]

KILLS = int(os.environ.get("DURABILITY_JOB_KILLS", "50"))
FREEZES = max(5, KILLS // 10)
JOBS_A_LIFE = 20
PATIENCE_S = 60.0


def enqueue(engine: sa.Engine, letters: list[str], takes_s: float) -> None:
    with engine.connect() as connection, connection.begin():
        dialect.begin_write(connection)
        for letter in letters:
            jobs.enqueue(connection, "org", "post", {"letter": letter, "takes_s": takes_s})


@contextmanager
def working(url: str) -> Generator[int]:
    """Have a process do jobs in the block, which begins with its first look, and kill it. Yield its number."""
    ours, theirs = forks.Pipe()
    process = forks.Process(target=jobbing.live, args=(url, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        assert ours.poll(PATIENCE_S), "the process does not begin"
        assert ours.recv() == "works"
        assert process.pid is not None
        yield process.pid
    finally:
        process.kill()
        process.join()


def live(url: str, for_s: float) -> None:
    """One process that does jobs, killed after a while."""
    with working(url):
        time.sleep(for_s)  # the moment of its death


def look(engine: sa.Engine) -> tuple[list[Job], Counter[str]]:
    """List the jobs that are left, and count the effects of each letter."""
    with engine.connect() as connection:
        left = jobs.list_jobs(connection)
        return left, Counter(connection.execute(sa.select(jobbing.effects.c.letter)).scalars())


def do_the_rest(engine: sa.Engine, url: str) -> None:
    """Have processes do jobs until none is left."""
    until = time.monotonic() + PATIENCE_S
    while left := look(engine)[0]:
        assert time.monotonic() < until, left[:3]
        live(url, jobbing.LEASE_S)


@pytest.fixture
def engine(database_url: str) -> Iterator[sa.Engine]:
    made = dialect.create_engine(database_url, 2)
    with made.begin() as connection:
        jobbing.effects.create(connection)
    yield made
    with made.begin() as connection:
        jobbing.effects.drop(connection)
    made.dispose()


def test_the_effect_of_every_job_is_there_once(engine: sa.Engine, database_url: str) -> None:
    letters: list[str] = []
    moments = random.Random(7)
    interrupted = 0
    for kill in range(KILLS):
        new = [f"{kill}-{number}" for number in range(JOBS_A_LIFE)]
        enqueue(engine, new, takes_s=0.02)
        letters += new
        live(database_url, moments.uniform(0, 0.1))
        interrupted += bool(look(engine)[0])

    do_the_rest(engine, database_url)
    assert interrupted > KILLS // 4
    assert look(engine)[1] == Counter(letters)


def test_a_process_that_was_frozen_adds_no_effect_when_it_wakes(engine: sa.Engine, database_url: str) -> None:
    letters: list[str] = []
    moments = random.Random(8)
    taken_over = 0
    for freeze in range(FREEZES):
        new = [f"{freeze}-{number}" for number in range(JOBS_A_LIFE)]
        enqueue(engine, new, takes_s=0.2)  # so that it is seldom frozen with the database's lock
        letters += new
        with working(database_url) as frozen:
            time.sleep(moments.uniform(0, 0.1))  # the moment at which it is frozen
            os.kill(frozen, signal.SIGSTOP)
            held = {job.id for job in look(engine)[0] if job.lease is not None}
            live(database_url, 2 * jobbing.LEASE_S)  # another takes what the frozen process had
            taken_over += len(held - {job.id for job in look(engine)[0]})
            os.kill(frozen, signal.SIGCONT)
            do_the_rest(engine, database_url)
            time.sleep(jobbing.LEASE_S)  # for the process to wake, and to end what it was at

    assert taken_over > FREEZES // 2
    assert look(engine)[1] == Counter(letters)
