"""Jobs whose processes are killed at random moments: the effect of each is there exactly once."""

import os
import random
import time
from collections import Counter

import pytest
import sqlalchemy as sa

from durability import jobbing
from durability.lives import forks
from tertulia.storage import job as jobs
from tertulia.storage.database import dialect
from tertulia.storage.job import Job

pytestmark = [pytest.mark.both_databases, pytest.mark.heavy]

KILLS = int(os.environ.get("DURABILITY_JOB_KILLS", "50"))
JOBS_A_LIFE = 20
PATIENCE_S = 60.0


def enqueue(engine: sa.Engine, letters: list[str]) -> None:
    with engine.connect() as connection, connection.begin():
        dialect.begin_write(connection)
        for letter in letters:
            jobs.enqueue(connection, "org", "post", {"letter": letter})


def live(url: str, for_s: float) -> None:
    """One process that does jobs, killed after a while."""
    ours, theirs = forks.Pipe()
    process = forks.Process(target=jobbing.live, args=(url, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        assert ours.poll(PATIENCE_S), "the process does not begin"
        assert ours.recv() == "works"
        time.sleep(for_s)  # the moment of its death
    finally:
        process.kill()
        process.join()


def look(engine: sa.Engine) -> tuple[list[Job], Counter[str]]:
    """List the jobs that are left, and count the effects of each letter."""
    with engine.connect() as connection:
        left = jobs.list_jobs(connection)
        return left, Counter(connection.execute(sa.select(jobbing.effects.c.letter)).scalars())


def test_the_effect_of_every_job_is_there_once(database_url: str) -> None:
    engine = dialect.create_engine(database_url, 2)
    with engine.begin() as connection:
        jobbing.effects.create(connection)
    letters: list[str] = []
    moments = random.Random(7)
    interrupted = 0
    for kill in range(KILLS):
        new = [f"{kill}-{number}" for number in range(JOBS_A_LIFE)]
        enqueue(engine, new)
        letters += new
        live(database_url, moments.uniform(0, 0.1))
        interrupted += bool(look(engine)[0])

    until = time.monotonic() + PATIENCE_S
    while left := look(engine)[0]:
        assert time.monotonic() < until, left[:3]
        live(database_url, jobbing.LIMIT_S)

    assert interrupted > KILLS // 4
    assert look(engine)[1] == Counter(letters)
    engine.dispose()
