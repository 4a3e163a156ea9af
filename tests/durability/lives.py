"""An installation whose server dies and is started again, and what a careful client sees of it."""

import asyncio
import json
import multiprocessing
import os
import secrets
import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import httpx2
import sqlalchemy as sa

from durability import crashing
from durability.crashing import Point
from tertulia.auth.secrets import SecretBox
from tertulia.auth.tokens import Tokens
from tertulia.cli import installation
from tertulia.demo.organization import Demo
from tertulia.settings import Settings
from tertulia.storage.clusters import Clusters
from tertulia.storage.database import dialect
from tertulia.storage.organization import DEFAULT_PREFERENCES
from tertulia.storage.tables import conversations, idempotency_keys, interactions, messages, streams, users
from tertulia.storage.user import NewUser, insert_user

PATIENCE_S = 30.0
LEASE_S = 1
PIECES = 6

forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["durability.crashing", "durability.jobbing", "tertulia.app"])


class Installation:
    """A data folder, a database, and at most one server."""

    def __init__(self, settings: Settings, **environment: str) -> None:
        self.settings = settings
        self.demo: Demo = installation.make_demo(settings, "demo", None)
        self.environment = {
            "TERTULIA_DATA": str(settings.data),
            "TERTULIA_DATABASE_URL": settings.cluster_urls["default"],
            "TERTULIA_RATE_LIMITS": "off",
            "TERTULIA_LOG_LEVEL": "error",
            "TERTULIA_TURN_LEASE_S": str(LEASE_S),
            "TERTULIA_SCRIPTED_PIECES": str(PIECES),
            "TERTULIA_SCRIPTED_DELAY_MS": "1",
            "PYTHONPATH": os.pathsep.join(("tests", os.environ.get("PYTHONPATH", ""))),
            **environment,
        }
        self.engine = dialect.create_engine(settings.cluster_urls["default"], 2)
        self.starts = 0
        self._process: Any = None
        self._control: Connection | None = None
        self.url = ""

    def start(self) -> None:
        """A new life; returns when the server answers."""
        self._control, theirs = forks.Pipe()
        self._process = forks.Process(target=crashing.live, args=(self.environment, theirs), daemon=True)
        self._process.start()
        theirs.close()
        assert self._control.poll(PATIENCE_S), "the server does not start"
        self.url = self._control.recv()
        self.starts += 1

    def arm(self, point: Point | None) -> None:
        """Let the server kill itself at a point, or not at all."""
        assert self._control is not None
        self._control.send(point)
        assert self._control.poll(PATIENCE_S)
        assert self._control.recv() == "armed"

    @property
    def pid(self) -> int:
        return int(self._process.pid)

    def kill(self) -> None:
        self._process.kill()
        self.died()

    def died(self) -> None:
        self._process.join(PATIENCE_S)
        assert self._process.exitcode == -9, f"it ended with {self._process.exitcode}"

    def close(self) -> None:
        if self._process is not None and self._process.is_alive():
            self.kill()
        self.engine.dispose()

    def user(self) -> "User":
        return self.users(1)[0]

    def users(self, count: int) -> list["User"]:
        """New users and their clients."""
        org_id = self.demo.organization_id
        with self.engine.begin() as connection:
            dialect.begin_write(connection)
            role = connection.execute(sa.select(users.c.role_id).where(users.c.id == self.demo.user_id)).scalar_one()
            made = [
                insert_user(
                    connection,
                    org_id,
                    NewUser(role, "Test", "Person", f"{secrets.token_hex(8)}@example.com", DEFAULT_PREFERENCES),
                )
                for _ in range(count)
            ]
        return [
            User(self, f"/v1/{org_id}/conversation", {"Authorization": f"Bearer {token}"})
            for token in asyncio.run(tokens(self.settings, org_id, made))
        ]

    def count(self, table: sa.Table, *conditions: sa.ColumnElement[bool]) -> int:
        with self.engine.connect() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(table).where(*conditions)).scalar_one()

    def open_streams(self) -> int:
        """As the server counts them."""
        text = httpx2.get(f"{self.url}/metrics", trust_env=False).text
        return int(float(text.split("\ntertulia_open_streams ")[1].split()[0]))

    def faults(self) -> list[str]:
        """List what is half there. Return nothing if the database is whole and no turn is running."""
        with self.engine.connect() as connection:
            return [f"{name}: {rows}" for name, query in HALVES.items() if (rows := connection.execute(query).all())]


async def tokens(settings: Settings, org_id: str, user_ids: list[str]) -> list[str]:
    clusters = Clusters(settings)
    try:
        tokens = Tokens(clusters.default, SecretBox.open(settings))
        return [(await tokens.issue(org_id, user_id))[0] for user_id in user_ids]
    finally:
        clusters.close()


_settled = sa.select(sa.func.count()).where(interactions.c.conversation_id == conversations.c.id).scalar_subquery()
_spoken = (
    sa.select(sa.func.count())
    .where(messages.c.conversation_id == conversations.c.id, messages.c.message_type != "agent-inner-thought")
    .scalar_subquery()
)
HALVES = {
    "interactions without a recording": sa.select(interactions.c.id).where(
        interactions.c.id.not_in(sa.select(streams.c.interaction_id))
    ),
    "interactions without a reply": sa.select(interactions.c.id).where(
        interactions.c.id.not_in(sa.select(messages.c.interaction_id).where(messages.c.message_type == "agent-message"))
    ),
    "messages of no interaction": sa.select(messages.c.id).where(
        messages.c.interaction_id.not_in(sa.select(interactions.c.id))
    ),
    "recordings of no interaction": sa.select(streams.c.interaction_id).where(
        streams.c.interaction_id.not_in(sa.select(interactions.c.id))
    ),
    "miscounted conversations": sa.select(
        conversations.c.id, conversations.c.num_interactions, _settled, _spoken
    ).where(sa.or_(conversations.c.num_interactions != _settled, conversations.c.num_messages != _spoken)),
    "keys of void turns": sa.select(idempotency_keys.c.key).where(
        idempotency_keys.c.interaction_id.not_in(sa.select(interactions.c.id)),
        idempotency_keys.c.interaction_id.not_in(
            sa.select(conversations.c.lease_interaction_id).where(conversations.c.lease_interaction_id.is_not(None))
        ),
    ),
}


@dataclass
class Answer:
    """An answer as far as it has arrived; its status is 0 if the server died before it began."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.body.splitlines(keepends=True) if line.endswith(b"\n")]

    @property
    def is_acknowledged(self) -> bool:
        return bool(self.lines) and self.lines[-1]["type"] == "interaction-complete"

    @property
    def is_replayed(self) -> bool:
        return self.headers.get("idempotent-replayed") == "true"

    @property
    def conversation_id(self) -> str:
        return self.headers.get("x-tertulia-conversation-id", "")

    @property
    def interaction_id(self) -> str:
        return self.headers.get("x-tertulia-interaction-id", "")


@dataclass(frozen=True)
class Request:
    """A user's request, sent again with its key until it is done."""

    conversation_id: str | None
    text: str
    key: str = field(default_factory=lambda: secrets.token_hex(8))


def client_of(there: Installation, user_id: str) -> httpx2.Client:
    """Return a client that speaks as a user of an installation's demo organization."""
    (token,) = asyncio.run(tokens(there.settings, there.demo.organization_id, [user_id]))
    return httpx2.Client(
        base_url=f"{there.url}/v1/{there.demo.organization_id}",
        headers={"Authorization": f"Bearer {token}"},
        timeout=60,
        trust_env=False,
        verify=False,
    )


@dataclass
class User:
    """A user's client. Each request has a connection of its own: the server it was sent to may be dead by the next."""

    installation: Installation
    path: str
    headers: dict[str, str]
    _kept: httpx2.Client | None = None

    @contextmanager
    def connected(self) -> Generator[None]:
        """Keep one connection for many requests to a server that nobody kills."""
        with self._connect() as self._kept:
            yield
        self._kept = None

    def send(self, request: Request) -> Answer:
        headers = {"Idempotency-Key": request.key}
        if request.conversation_id is None:
            body = {"service_id": self.installation.demo.service_id, "initial_message": request.text}
            return self._stream("POST", "/", headers=headers, params={"response_format": "text"}, json=body)
        parts = [("initial_message_type", (None, "user-message")), ("recorded_message", (None, request.text))]
        params = {"request_format": "text", "response_format": "text"}
        path = f"/{request.conversation_id}/interact"
        return self._stream("POST", path, headers=headers, params=params, files=parts)

    def insist(self, request: Request) -> tuple[Answer, float]:
        """Send it until it is done, as Retry-After and 409 ask for; the answer and how long that took, in seconds."""
        begun = time.monotonic()
        while True:
            answer = self.send(request)
            took = time.monotonic() - begun
            if answer.is_acknowledged:
                return answer, took
            assert answer.status in {409, 503}, (answer.status, answer.body)
            assert took < PATIENCE_S, answer.body
            time.sleep(0.05)  # the server has said "later", and nothing tells when

    def replay(self, conversation_id: str, interaction_id: str, after: int = 0) -> Answer:
        path = f"/{conversation_id}/interaction/{interaction_id}/stream"
        return self._stream("GET", path, params={"after": after})

    def messages(self, conversation_id: str) -> list[dict[str, Any]]:
        answer = self._stream("GET", f"/{conversation_id}/messages/", params={"sort_by": "+created_at"})
        assert answer.status == 200, answer.body
        return json.loads(answer.body)["messages"]

    def only_conversation(self) -> str:
        found = json.loads(self._stream("GET", "/").body)["conversations"]
        assert len(found) == 1
        return str(found[0]["id"])

    def finish(self, conversation_id: str) -> int:
        return self._stream("POST", f"/{conversation_id}/finish/").status

    def _stream(self, method: str, path: str, headers: dict[str, str] | None = None, **request: Any) -> Answer:
        answer = Answer()
        with (
            suppress(httpx2.TransportError),
            nullcontext(self._kept) if self._kept is not None else self._connect() as client,
            client.stream(method, path, headers=headers, **request) as response,
        ):
            answer.status, answer.headers = response.status_code, dict(response.headers)
            for chunk in response.iter_raw():
                answer.body += chunk
            answer.whole = True
        return answer

    def _connect(self) -> httpx2.Client:
        url = self.installation.url + self.path
        return httpx2.Client(base_url=url, headers=self.headers, timeout=PATIENCE_S, trust_env=False, verify=False)


def check_whole(user: User, answer: Answer) -> None:
    """Check that all that was acknowledged is there: its words, and its stream byte for byte."""
    complete = answer.lines[-1]
    said = [one for one in user.messages(answer.conversation_id) if one["interaction_id"] == complete["interaction_id"]]
    assert [one["message_type"] for one in said] == ["user-message", "agent-message"]
    assert said[-1]["message"] == complete["full_message"]
    replay = user.replay(answer.conversation_id, complete["interaction_id"])
    assert replay.status == 200
    assert replay.body == answer.body
