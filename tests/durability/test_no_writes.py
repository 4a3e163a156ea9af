"""Storage that takes no writes: who writes is told "not now", who reads is answered, and all goes on afterwards."""

import io
import json
import resource
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

import httpx2
import pytest
import sqlalchemy as sa

from durability.lives import LEASE_S, Installation, Request, check_whole, client_of
from operations import BEHAVIORS
from support import postgres, samples, spoken
from support.server import settings_of

pytestmark = [pytest.mark.heavy]

FREE_S = 3 * LEASE_S + 10.0
"""A lease, what a loop may take to look again, and what a busy machine may add."""

VOICE = {"request_format": "voice", "response_format": "voice", "current_agent_action_type": "^$"}


Stop = Callable[[], AbstractContextManager[None]]


@pytest.fixture(params=["a full disk", "a read-only PostgreSQL"])
def place(request: pytest.FixtureRequest, sqlite_template: Path, tmp_path: Path) -> Iterator[tuple[Installation, Stop]]:
    """An installation whose server is a process of its own, and what keeps it from writing for the time of a block."""
    with ExitStack() as stack:
        if request.param == "a full disk":
            url = f"sqlite:///{tmp_path / 'test.db'}"
            there = Installation(settings_of(data=tmp_path, database={"url": url}), TERTULIA_TRACE="prompts")
            stop: Stop = partial(full, there)
        else:
            url = stack.enter_context(postgres.running()).create()
            there = Installation(settings_of(data=tmp_path, database={"url": url}), TERTULIA_TRACE="prompts")
            stop = partial(read_only, url)
        stack.callback(there.close)
        there.start()
        yield there, stop


@contextmanager
def full(there: Installation) -> Generator[None]:
    """A process that may not make files larger sees what it sees on a full disk: writes that fail."""
    limits = resource.prlimit(there.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    yield
    resource.prlimit(there.pid, resource.RLIMIT_FSIZE, limits)


@contextmanager
def read_only(url: str) -> Generator[None]:
    """A server that takes no writes, as one that has become the standby of another."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for kind in ("on", "off"):
            connection.execute(sa.text("SET default_transaction_read_only = off"))
            connection.execute(sa.text(f"ALTER SYSTEM SET default_transaction_read_only = {kind}"))
            connection.execute(sa.text("SELECT pg_reload_conf()"))
            if kind == "on":
                yield
    engine.dispose()


def speak(client: httpx2.Client, conversation_id: str) -> int:
    """Say something, and hear the answer. Return the status; of a stream that ends with an error the error's."""
    answer = client.post(
        f"/conversation/{conversation_id}/interact",
        params=VOICE | {"request_audio_config": json.dumps(spoken.BARE), "audio_format": "pcm"},
        data={"initial_message_type": "user-message"},
        files={"recorded_message": ("a.pcm", io.BytesIO(spoken.said("Good morning.")))},
    )
    last = json.loads(answer.text.splitlines()[-1]) if answer.status_code == 200 else {}
    return int(last.get("http_error_code", answer.status_code))


def ready(there: Installation) -> int:
    return httpx2.get(f"{there.url}/readyz", trust_env=False).status_code


def wait_for(done: Callable[[], bool]) -> None:
    latest = time.monotonic() + FREE_S
    while not done():
        assert time.monotonic() < latest
        time.sleep(0.1)


def test_who_writes_is_told_not_now_and_who_reads_is_answered(place: tuple[Installation, Stop]) -> None:
    there, stop = place
    talker = there.user()
    begun, _ = talker.insist(Request(None, "Hello"))
    talk = begun.conversation_id
    message_id = talker.messages(talk)[0]["id"]
    admin, user = client_of(there, there.demo.admin_user_id), client_of(there, there.demo.user_id)
    user.headers["Authorization"] = talker.headers["Authorization"]
    feedback = f"/conversation/{talk}/messages/{message_id}/feedback"
    behavior = samples.behavior(there.demo.service_id)
    writes: dict[str, Callable[[], int]] = {
        "a spoken turn": lambda: speak(user, talk),
        "feedback": lambda: user.put(feedback, json={"rating": "up"}).status_code,
        "a link": lambda: admin.post(f"/conversation/{talk}/share/", json={}).status_code,
        "a behaviour": lambda: admin.post(BEHAVIORS, json=behavior).status_code,
        "a tool": lambda: admin.post("/tool/", json={"name": "full", "description": "x", "tags": {}}).status_code,
        "the end of a conversation, with its job": lambda: user.post(f"/conversation/{talk}/finish/").status_code,
    }
    reads: dict[str, Callable[[], int]] = {
        "messages": lambda: user.get(f"/conversation/{talk}/messages/").status_code,
        "a search": lambda: user.get("/conversation/search", params={"query": "hello"}).status_code,
        "services": lambda: user.get("/service/").status_code,
        "feedback": lambda: user.get("/conversation/feedback").status_code,
        "life": lambda: httpx2.get(f"{there.url}/healthz", trust_env=False).status_code,
    }
    with stop():
        wait_for(lambda: ready(there) == 503)
        refused = {name: write() for name, write in writes.items()}
        answered = {name: read() for name, read in reads.items()}
    assert set(refused.values()) == {503}, refused
    assert set(answered.values()) == {200}, answered
    wait_for(lambda: ready(there) == 200)
    done = {name: write() for name, write in writes.items()}
    assert all(status < 300 for status in done.values()), done
    check_whole(talker, begun)
    assert there.faults() == []
