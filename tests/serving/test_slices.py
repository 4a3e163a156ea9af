"""Heavy requests at a server of its own, and the longest for which each of them holds the event loop."""

import gzip
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from durability.lives import Installation, client_of
from support import many_users, samples, slices
from support.server import settings_of
from tertulia import clock
from tertulia.ids import new_id
from tertulia.storage.database import dialect
from tertulia.storage.organization import DEFAULT_PREFERENCES
from tertulia.storage.tables import conversations, messages, users

pytestmark = [pytest.mark.both_databases, pytest.mark.heavy]

MOST_S = 0.05
"""So much work may one slice of the loop be."""

MOST_WAIT_S = 0.1
"""So much work of the whole process may there be between two looks of the loop, five milliseconds apart."""

USERS, TALKS, SAID = 300, 6, 20
TIMES, AT_ONCE = 4, 3
MANY = 50_000
START_S = 90.0
LONG = "漢字" * 45_000 + " marmot"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=B"}
TEXT = {"request_format": "text", "response_format": "text"}

Ask = Callable[[], httpx2.Response]


@dataclass(frozen=True)
class Measured:
    """A server whose loop is measured, with what is heavy to show."""

    there: Installation
    telling: Path
    speaker_id: str
    talk_id: str

    def as_(self, user_id: str) -> httpx2.Client:
        return client_of(self.there, user_id)

    def hold(self, ask: Ask) -> slices.Slices:
        """Ask a few times, some at once. Return what was measured meanwhile, of several times the least."""
        ask()  # what the first one makes, and keeps, is not the question
        return min((self._hold_once(ask) for _ in range(2)), key=lambda each: (each.slice_s, each.wait_s))

    def _hold_once(self, ask: Ask) -> slices.Slices:
        slices.take(self.telling)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for answer in [pool.submit(ask) for _ in range(TIMES)]:
                assert answer.result().status_code < 500
        return slices.take(self.telling)


def fill(there: Installation) -> tuple[str, str]:
    """Make many users, of whom one has said much. Return that one, and a conversation of theirs."""
    org_id, at = there.demo.organization_id, clock.now() - timedelta(days=1)
    speaker_id = many_users.user_of(org_id, 5)
    talk = many_users.rows_of(org_id, 5, USERS)[conversations][0] | {"is_finished": True, "finished_at": at}
    talks = [talk | {"id": new_id(), "service_id": there.demo.service_id, "created_at": at} for _ in range(TALKS)]
    said = [
        {
            "id": new_id(),
            "org_id": org_id,
            "conversation_id": each["id"],
            "interaction_id": "i",
            "message_type": "user-message",
            "format": "text",
            "sender": "user",
            "content": LONG if number == 0 else "common " * 300,
            "created_at": at + timedelta(seconds=second),
        }
        for number, each in enumerate(talks)
        for second in range(SAID)
    ]
    with there.engine.begin() as connection:
        dialect.begin_write(connection)
        many_users.fill(connection, org_id, USERS)
        connection.execute(sa.insert(conversations), talks)
        connection.execute(sa.insert(messages), said)
        many_users.finish(connection)
        theirs = users.c.id.like(f"{org_id}-%")
        connection.execute(sa.update(users).where(theirs).values(preferences=DEFAULT_PREFERENCES))
        role_id = sa.select(users.c.role_id).where(users.c.id == there.demo.user_id).scalar_subquery()
        connection.execute(sa.update(users).where(users.c.id == speaker_id).values(role_id=role_id))
    return speaker_id, str(talks[0]["id"])


@contextmanager
def serving(there: Installation, folder: Path) -> Generator[Path]:
    """Run `tertulia serve` with a measured loop for the time of a block. Return where it tells its slices."""
    telling = folder / "slices"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "support.slices",
        str(telling),
        "serve",
        "--data",
        str(folder),
        "--port",
        str(port),
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env={**os.environ, **there.environment}, stdout=log, stderr=log)
    there.url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + START_S
        while not _answers(there.url):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        yield telling
    finally:
        process.terminate()
        process.wait(START_S)


def _answers(url: str) -> bool:
    with suppress(httpx2.TransportError):
        return httpx2.get(f"{url}/healthz", trust_env=False).status_code == 200
    return False


@pytest.fixture
def measured(new_database: Callable[[], str], tmp_path: Path) -> Iterator[Measured]:
    settings = settings_of(data=tmp_path, database={"url": new_database(), "pool_size": 6})
    there = Installation(settings, TERTULIA_TRACE="prompts", TERTULIA_TURN_LEASE_S="30")
    speaker_id, talk_id = fill(there)
    with serving(there, tmp_path) as telling:
        yield Measured(there, telling, speaker_id, talk_id)
    there.close()


def form(count: int, name: str) -> bytes:
    part = f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\ny\r\n'
    return f"{part * count}--B--\r\n".encode()


def reads(measured: Measured) -> Iterator[tuple[str, Ask]]:
    """Name lists, searches and files that are large."""
    demo = measured.there.demo
    admin, above, speaker = map(measured.as_, (demo.admin_user_id, demo.super_user_id, measured.speaker_id))
    by_messages = {"sort_by": "-user_stats.num_messages", "limit": 100}
    numbers = [("tag", f"number:{number}") for number in range(20)]
    graph_id = samples.make_graph(admin, large_graph())
    samples.make_behavior(admin, demo.service_id)
    until = time.monotonic() + START_S
    while not speaker.get("/conversation/search", params={"query": "marmot"}).json()["messages"]:
        assert time.monotonic() < until, "long messages are not found"
    yield "users by statistics", lambda: admin.get("/user/", params=by_messages)
    yield "users by name", lambda: admin.get("/user/", params={"sort_by": "+first_name", "limit": 100})
    yield "a search for users", lambda: admin.get("/user/search/", params={"query": "x.io"})
    yield "conversations by tags", lambda: admin.get("/conversation/", params=[("limit", "100"), *numbers])
    yield "a search for words", lambda: speaker.get("/conversation/search", params={"query": "common"})
    yield "a search in long messages", lambda: speaker.get("/conversation/search", params={"query": "marmot"})
    yield "a search for what is everywhere", lambda: speaker.get("/conversation/search", params={"query": "漢字" * 200})
    yield "messages", lambda: speaker.get(f"/conversation/{measured.talk_id}/messages/", params={"limit": 20})
    yield "large graphs", lambda: admin.get(f"{samples.GRAPHS}/{graph_id}/version")
    yield "behaviours", lambda: admin.get("/dynamic_behavior_set/search", params={"query": "weather"})
    yield "calls of tools", lambda: admin.get("/tool/invocation", params={"limit": 100})
    yield "an export", lambda: above.get(f"/user/{measured.speaker_id}/export")
    yield "the audit log", lambda: admin.get("/audit/", params={"limit": 100})
    yield "its verification", lambda: admin.get("/audit/verification")
    yield "the OpenAPI document", lambda: admin.get(f"{measured.there.url}/v1/openapi.json")


def writes(measured: Measured) -> Iterator[tuple[str, Ask]]:
    """Name bodies of some megabytes, right and wrong ones."""
    demo = measured.there.demo
    admin = measured.as_(demo.admin_user_id)
    user = f"/user/{demo.user_id}"
    graph_id = samples.make_graph(admin, large_graph())
    tool_id = admin.post("/tool/", json=samples.tool("held")).json()["id"]
    chain = {"states": [samples.annotation(f"s{number}", f"s{number + 1}") for number in range(8000)]}
    interact = f"/conversation/{measured.talk_id}/interact"
    archive, packed = f"/tool/{tool_id}/version/archive", {"content-type": "application/gzip"}
    bomb = gzip.compress(bytes(100 << 20), 1)[: 1 << 20]

    def change(body: str) -> httpx2.Response:
        return admin.post(user, content=body, headers=JSON)

    yield "a large graph", lambda: admin.post(f"{samples.GRAPHS}/{graph_id}/", json=large_graph())
    yield "a graph of too many states", lambda: admin.post(f"{samples.GRAPHS}/{graph_id}/", json=chain)
    yield "a long text", lambda: change('{"first_name":"' + "x" * 1_900_000 + '"}')
    yield "wrong items", lambda: change('{"additional_context":[' + "1," * MANY * 4 + "1]}")
    yield "unknown names", lambda: change(json.dumps({"x": {str(number): 1 for number in range(MANY)}}))
    yield "deep lists", lambda: change("[" * 90 + "[]," * MANY * 3 + "[]" + "]" * 90)
    yield "lists that are too deep", lambda: change('{"x":' + "[" * 900_000 + "]" * 900_000 + "}")
    yield "a form of many parts", lambda: admin.post(interact, params=TEXT, content=form(20_000, "x"), headers=FORM)
    yield (
        "an archive of nothing",
        lambda: admin.post(archive, params={"bump_type": "major"}, content=bytes(1 << 20), headers=packed),
    )
    yield "an archive bomb", lambda: admin.post(archive, params={"bump_type": "major"}, content=bomb, headers=packed)


def large_graph() -> dict[str, Any]:
    """Make a graph of a megabyte that is accepted."""
    states = [samples.action(f"s{number}", "end", action_guidelines=["g" * 300]) for number in range(1900)]
    return samples.short_graph(*states)


def test_no_request_holds_the_loop_of_a_server(measured: Measured) -> None:
    asked = [*reads(measured), *writes(measured)]
    held = {name: measured.hold(ask) for name, ask in asked}
    for name, most in held.items():
        print(f"{name}: {most.slice_s * 1000:.1f} ms, waits of {most.wait_s * 1000:.1f} ms")
    assert {name for name, ask in reads(measured) if ask().status_code != 200} == set()
    assert {name: most for name, most in held.items() if most.slice_s > MOST_S or most.wait_s > MOST_WAIT_S} == {}
