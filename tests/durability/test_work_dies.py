"""Failures while work beside turns is done: exports, archives of tools, erasures, memories of finished conversations,
agents that are applied from files, retention.

The server is killed, its disk is full, its file is locked by another process, its PostgreSQL is started again. Each
request is answered, or broken off; what was acknowledged is done, nothing is there in halves, and the effect of each is
there once.
"""

import io
import os
import random
import secrets
import sqlite3
import subprocess
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from math import ceil
from pathlib import Path

import httpx2
import pytest
import sqlalchemy as sa

from durability.lives import Installation, client_of
from durability.test_crash import MOMENTS, SEED
from durability.test_no_writes import full
from support import postgres, samples, talk
from support.commands import TERTULIA
from support.postgres import Postgres
from support.server import settings_of
from tertulia import clock
from tertulia.clock import EPOCH
from tertulia.storage import person
from tertulia.storage.database import dialect
from tertulia.storage.tables import (
    agent_versions,
    agents,
    audit_lines,
    behavior_set_versions,
    behavior_sets,
    context_graph_versions,
    context_graphs,
    conversations,
    interactions,
    jobs,
    memories,
    messages,
    services,
    streams,
    tool_versions,
    traces,
    users,
)
from tertulia.tools import scaffold

pytestmark = [pytest.mark.heavy]

ROUNDS = ceil(MOMENTS / 20)
"""The number of times that each failure comes; a few suffice for each change."""

MOMENT_S = 0.4
LOCKED_S = 6.0
"""Longer than a writer waits for another process."""
PATIENCE_S = 60.0
BROKEN = 0
"""The status of an answer that has not come to its end."""
WORDS = "I am allergic to nuts, and I live in Rome."

Strike = Callable[[], None]


@dataclass
class Place:
    """An installation, and the failure that it meets."""

    there: Installation
    strike: Strike
    erased: int = 0
    finished: list[tuple[str, str]] = field(default_factory=list)
    """The users who have finished a conversation, and the conversations."""
    headers: dict[str, httpx2.Headers] = field(default_factory=dict)
    """The headers of each user, who has signed in once."""

    def as_(self, user_id: str) -> httpx2.Client:
        """Return a client of a user, with connections of its own, to where the server is now."""
        if user_id not in self.headers:
            self.headers[user_id] = client_of(self.there, user_id).headers
        base_url = f"{self.there.url}/v1/{self.there.demo.organization_id}"
        return httpx2.Client(
            base_url=base_url, headers=self.headers[user_id], timeout=60, trust_env=False, verify=False
        )

    @property
    def admin(self) -> httpx2.Client:
        return self.as_(self.there.demo.admin_user_id)

    def new_user(self) -> str:
        body = {"first_name": "A", "last_name": "B", "email": f"{secrets.token_hex(8)}@example.com"}
        role = {"role_name": "DefaultUserRole"}
        answer = self.admin.post("/user/", json=body | role)
        return str(answer.raise_for_status().json()["user_id"])

    def talked(self) -> tuple[str, str]:
        """Make a user who has said something. Return them, and the conversation."""
        user_id = self.new_user()
        begun = talk.begin(self.as_(user_id), self.there.demo.service_id, initial_message=WORDS)
        assert begun[-1]["type"] == "interaction-complete"
        return user_id, talk.id_of(begun)

    def let_time_pass(self) -> bool:
        """Make jobs due that a lost process or a failure has put off. Return True if no job is left."""
        with self.there.engine.begin() as connection:
            dialect.begin_write(connection)
            connection.execute(sa.update(jobs).where(jobs.c.due_at.is_not(None)).values(due_at=EPOCH))
        return self.there.count(jobs) == 0


@pytest.fixture(
    params=["killed on sqlite", "a full disk", "a locked file", "killed on postgres", "PostgreSQL started again"]
)
def place(request: pytest.FixtureRequest, sqlite_template: Path, tmp_path: Path) -> Iterator[Place]:
    kind = str(request.param)
    with ExitStack() as stack:
        server = stack.enter_context(postgres.running()) if "ostgre" in kind else None
        url = server.create() if server is not None else f"sqlite:///{tmp_path / 'test.db'}"
        settings = settings_of(data=tmp_path, database={"url": url})
        there = Installation(settings, TERTULIA_TRACE="prompts", TERTULIA_TURN_LEASE_S="30")
        stack.callback(there.close)
        there.start()
        strikes: dict[str, Strike] = {
            "a full disk": partial(_fill, there),
            "a locked file": partial(_lock, tmp_path / "test.db"),
        }
        if server is not None and "killed" not in kind:
            strikes[kind] = partial(_start_again, server, there)
        yield Place(there, strikes.get(kind, partial(_kill, there)))


def _kill(there: Installation) -> None:
    there.kill()
    there.start()


def _fill(there: Installation) -> None:
    with full(there):
        time.sleep(1)  # for as long as the disk is full


def _lock(file: Path) -> None:
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        time.sleep(LOCKED_S)  # for as long as the other process has the file
        other.execute("ROLLBACK")
    other.close()


def _start_again(server: Postgres, there: Installation) -> None:
    server.stop()
    server.start()
    there.engine.dispose()  # the test's own connections ended with it


def asked(request: Callable[[], httpx2.Response]) -> httpx2.Response | None:
    """Make a request. Return the answer; None if it has not come to its end."""
    try:
        return request()
    except httpx2.TransportError:
        return None


def insist(request: Callable[[], httpx2.Response], *done: int) -> httpx2.Response:
    """Repeat a request while it is answered with "not now". Return the answer."""
    until = time.monotonic() + PATIENCE_S
    while True:
        answer = asked(request)
        if answer is not None and answer.status_code in done:
            return answer
        status = BROKEN if answer is None else answer.status_code
        assert status in {BROKEN, 409, 503}, answer and answer.text
        assert time.monotonic() < until, answer and answer.text
        time.sleep(0.1)


@dataclass(frozen=True)
class Work:
    """The requests that are made at once: an end of a conversation, an erasure, an upload, an export."""

    place: Place
    leaving: str
    talk_id: str
    gone: str
    shown: str
    shown_talk_id: str
    tool_id: str

    @classmethod
    def prepare(cls, place: Place) -> "Work":
        (leaving, talk_id), (gone, _), (shown, shown_talk_id) = [place.talked() for _ in range(3)]
        place.as_(place.there.demo.super_user_id)
        tool = samples.tool(f"dies_{secrets.token_hex(4)}")
        tool_id = place.admin.post("/tool/", json=tool).raise_for_status().json()["id"]
        return cls(place, leaving, talk_id, gone, shown, shown_talk_id, tool_id)

    def finish(self) -> httpx2.Response:
        return self.place.as_(self.leaving).post(f"/conversation/{self.talk_id}/finish/")

    def erase(self) -> httpx2.Response:
        return self.place.admin.delete(f"/user/{self.gone}/data")

    def upload(self) -> httpx2.Response:
        kind, query = {"content-type": "application/gzip"}, {"bump_type": "major"}
        path = f"/tool/{self.tool_id}/version/archive"
        return self.place.admin.post(path, params=query, content=scaffold.archive(), headers=kind)

    def export(self) -> httpx2.Response:
        return self.place.as_(self.place.there.demo.super_user_id).get(f"/user/{self.shown}/export")

    def check_export(self, answer: httpx2.Response | None) -> None:
        """Check that an export is whole, and that one can be had."""
        for each in (answer, insist(self.export, 200)):
            if each is not None and each.status_code == 200:
                with zipfile.ZipFile(io.BytesIO(each.content)) as archive:
                    assert archive.testzip() is None
                    assert self.shown_talk_id in archive.read("conversations.jsonl").decode()

    def check_upload(self, answer: httpx2.Response | None) -> None:
        """Check that there is one version, or none that was acknowledged, and that there can be one."""
        versions = self.place.there.count(tool_versions, tool_versions.c.tool_id == self.tool_id)
        assert versions == 1 or (versions == 0 and (answer is None or answer.status_code == 503))
        if versions == 0:
            insist(self.upload, 201)
        listed = self.place.admin.get(f"/tool/{self.tool_id}/version").raise_for_status()
        assert len(listed.json()["tool_versions"]) == 1

    def check_erasure(self, answer: httpx2.Response | None) -> None:
        """Check that what was acknowledged is not undone, and that it can be had."""
        is_there = self.place.there.count(users, users.c.id == self.gone)
        assert not is_there or answer is None or answer.status_code == 503
        if is_there:
            insist(self.erase, 200)
        self.place.erased += 1

    def check_end(self, answer: httpx2.Response | None) -> None:
        """Check that the conversation is finished, or can be."""
        if answer is None or answer.status_code != 204:
            insist(self.finish, 204, 400, 409)  # finished already: its answer was lost
        self.place.finished.append((self.leaving, self.talk_id))


def _round(place: Place, moment_s: float) -> None:
    """Have everything done at once, strike, and see that each thing is done or not, and can be."""
    work = Work.prepare(place)
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(asked, each) for each in (work.finish, work.erase, work.upload, work.export)]
        time.sleep(moment_s)
        place.strike()
        answers = [each.result() for each in running]
    for answer in answers:
        assert answer is None or answer.status_code < 300 or answer.status_code == 503, answer.text
    for check, answer in zip(
        (work.check_end, work.check_erasure, work.check_upload, work.check_export), answers, strict=True
    ):
        check(answer)
    until = time.monotonic() + PATIENCE_S
    while not place.let_time_pass():
        assert time.monotonic() < until, "a job does not end"
        time.sleep(0.2)
    _check_effects(place, work.gone)


def _check_effects(place: Place, gone: str) -> None:
    there = place.there
    with there.engine.connect() as connection:
        left = person.count_rows(connection, there.demo.organization_id, gone)
        steps = {
            talk_id: connection.execute(
                sa.select(conversations.c.completed_post_processings).where(conversations.c.id == talk_id)
            ).scalar_one()
            for _, talk_id in place.finished
        }
    assert {name: number for name, number in left.items() if number} == {}
    assert all(len(done) == len(set(done)) == 2 for done in steps.values()), steps
    remembered = {there.count(memories, memories.c.user_id == user_id) for user_id, _ in place.finished}
    assert len(remembered) == 1, remembered
    assert there.count(audit_lines, audit_lines.c.action == "erase-user") == place.erased


def test_the_effect_of_each_is_there_once_whatever_happens_meanwhile(place: Place) -> None:
    print(f"DURABILITY_SEED={SEED}")
    chance = random.Random(SEED)
    for _ in range(ROUNDS):
        _round(place, chance.uniform(0, MOMENT_S))
    assert place.there.faults() == []
    assert place.admin.get("/audit/verification").raise_for_status().json()["problems"] == []


# --- Agents as files -------------------------------------------------------------------------------------------------

APPLIED = {agents: agent_versions, context_graphs: context_graph_versions, behavior_sets: behavior_set_versions}


class Author:
    """A person with a folder, whose service nobody else has; and `tertulia apply`."""

    def __init__(self, place: Place, folder: Path) -> None:
        self._place = place
        self.folder = folder
        subprocess.run([TERTULIA, "new", str(folder)], check=True, capture_output=True)

    def apply(self) -> "subprocess.Popen[str]":
        there = self._place.there
        data = str(there.settings.data)
        command = [TERTULIA, "apply", str(self.folder), "--yes", "--data", data, "--url", there.url]
        environment = {**os.environ, **there.environment, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def apply_until(self, steps: int) -> "subprocess.Popen[str]":
        """Apply until so many changes are made. Return the command, which goes on."""
        applying = self.apply()
        assert applying.stdout is not None
        while steps and (line := applying.stdout.readline()):
            steps -= line.startswith("done:")
        return applying

    def insist(self) -> None:
        """Apply until nothing is left to change."""
        until = time.monotonic() + PATIENCE_S
        output = ""
        while "Nothing changes" not in output:
            assert time.monotonic() < until, output
            output, _ = self.apply().communicate(timeout=PATIENCE_S)


def _counted(place: Place) -> dict[str, tuple[int, int]]:
    """Count the things that files make, and their versions."""
    there = place.there
    return {things.name: (there.count(things), there.count(versions)) for things, versions in APPLIED.items()}


def test_agents_that_are_applied_meanwhile_are_there_once(place: Place, tmp_path: Path) -> None:
    print(f"DURABILITY_SEED={SEED}")
    chance = random.Random(SEED)
    Author(place, tmp_path / "first").insist()
    services_before, before = place.there.count(services), _counted(place)
    Author(place, tmp_path / "second").insist()
    of_one = {name: (found[0] - before[name][0], found[1] - before[name][1]) for name, found in _counted(place).items()}
    assert place.there.count(services) == services_before + 1

    for number in range(ROUNDS):
        services_before, before = place.there.count(services), _counted(place)
        author = Author(place, tmp_path / f"round-{number}")
        applying = author.apply_until(chance.randrange(4))
        time.sleep(chance.uniform(0, 0.1))  # the moment of the failure
        place.strike()
        applying.communicate(timeout=PATIENCE_S)
        author.insist()

        assert place.there.count(services) == services_before + 1
        assert _counted(place) == {
            name: (found[0] + of_one[name][0], found[1] + of_one[name][1]) for name, found in before.items()
        }


# --- Retention -------------------------------------------------------------------------------------------------------

EXPIRED = 12
"""Conversations that are past their time; here a transaction removes one of them."""


def _finished(place: Place, user_id: str) -> str:
    """Have a user say something, and finish the conversation. Return the conversation."""
    client = place.as_(user_id)
    talk_id = talk.id_of(talk.begin(client, place.there.demo.service_id, initial_message=WORDS))
    assert talk.finish(client, talk_id).status_code == 204
    return talk_id


def _age(there: Installation, talk_ids: list[str]) -> None:
    """Make conversations ten days old."""
    then = clock.now() - timedelta(days=10)
    with there.engine.begin() as connection:
        dialect.begin_write(connection)
        aged = sa.update(conversations).where(conversations.c.id.in_(talk_ids))
        connection.execute(aged.values(created_at=then, last_message_time=then))


def _held(there: Installation, user_id: str) -> tuple[int, int]:
    """Count the bytes of a user's messages: those that are counted for the user, and those that are there."""
    with there.engine.connect() as connection:
        count = connection.execute(sa.select(users.c.stored_bytes).where(users.c.id == user_id)).scalar_one()
        theirs = sa.select(conversations.c.id).where(conversations.c.user_id == user_id)
        texts = connection.execute(sa.select(messages.c.content).where(messages.c.conversation_id.in_(theirs)))
        return count, sum(len(text.encode()) for text in texts.scalars())


def test_what_is_past_its_time_goes_whole_and_nothing_else(place: Place) -> None:
    print(f"DURABILITY_SEED={SEED}")
    chance, there = random.Random(SEED), place.there
    speaker, (user_id, kept) = place.new_user(), place.talked()
    kept_bytes = _held(there, user_id)
    retention = {"conversations_days": 5, "recordings_days": None, "traces_days": None, "memories_days": None}
    place.as_(there.demo.super_user_id).put("/organization/retention/", json=retention).raise_for_status()
    for _ in range(ROUNDS):
        expired = [_finished(place, speaker) for _ in range(EXPIRED)]
        _age(there, expired)
        time.sleep(chance.uniform(0, MOMENT_S))  # the moment of the failure
        place.strike()
        until = time.monotonic() + PATIENCE_S
        while there.count(conversations, conversations.c.id.in_(expired)):
            assert time.monotonic() < until, "what is past its time stays"
            time.sleep(0.2)

        for table in (messages, interactions, streams, traces):
            assert there.count(table, table.c.conversation_id.in_(expired)) == 0, table.name
        assert there.count(conversations, conversations.c.id == kept) == 1
        assert (_held(there, user_id), _held(there, speaker)) == (kept_bytes, (0, 0))
    assert there.faults() == []
