"""Coming back to a turn, and ending it, over HTTP: where it runs, and at another worker of the same database."""

import secrets
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from support import talk
from support.accounts import demote
from support.puppet import Puppet
from support.samples import action, graph
from support.server import Serve, Server
from support.stage import Stage, Switch
from tertulia.engine.turns.runner import Runner
from tertulia.errors import ModelUnavailable
from tertulia.providers.models.registry import Models

pytestmark = pytest.mark.both_databases

THINKS = graph(action("start", "end", actions=2), action("end"))
"""Whose agent has actions to tell of before it speaks."""


@dataclass
class Pair:
    """Two workers of an installation; the stage's model is the first one's."""

    stage: Stage
    second: Server

    def there(self, client: httpx2.Client) -> httpx2.Client:
        """The same caller, at the second worker."""
        return self.second.client(client.headers["authorization"].removeprefix("Bearer "))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="module")
def _pair(serve: Serve, database_url: str, data: Path) -> Pair:
    database = {"url": database_url, "pool_size": 4}
    switch = Switch()
    first = serve(models=Models(switch), database=database, data=data)
    return Pair(Stage(first, switch), serve(models=Models(Switch()), database=database, data=data))


@pytest.fixture
def pair(_pair: Pair) -> Pair:
    _pair.stage.play(Puppet())
    return _pair


@dataclass
class Running:
    """A stream of which so much has been read."""

    response: httpx2.Response
    pieces: Iterator[bytes]

    @property
    def path(self) -> str:
        ids = [self.response.headers[f"x-tertulia-{name}-id"] for name in ("conversation", "interaction")]
        return f"/conversation/{ids[0]}/interaction/{ids[1]}"

    @property
    def conversation_id(self) -> str:
        return str(self.response.headers["x-tertulia-conversation-id"])

    def rest(self) -> bytes:
        return b"".join(self.pieces)


@contextmanager
def opened(client: httpx2.Client, path: str, method: str = "GET", **request: Any) -> Generator[Running]:
    with client.stream(method, path, **request) as response:
        yield Running(response, response.iter_raw())


def created(
    client: httpx2.Client, service_id: str, key: str = "", text: str = "Hello"
) -> AbstractContextManager[Running]:
    """A create whose stream is being read."""
    return opened(
        client,
        "/conversation/",
        "POST",
        params={"response_format": "text"},
        json={"service_id": service_id, "initial_message": text},
        headers={"Idempotency-Key": key or secrets.token_hex(8)},
    )


def last_line(body: bytes) -> bytes:
    return body.splitlines()[-1]


@pytest.mark.parametrize("elsewhere", [False, True], ids=["here", "elsewhere"])
def test_a_stream_goes_on_after_any_line_while_it_runs_and_when_it_has_ended(pair: Pair, elsewhere: bool) -> None:
    puppet = pair.stage.play(Puppet("One", " two", " three", ".", choice="action-1"))
    puppet.hold()
    user = pair.stage.user("DefaultAdministratorRole")
    follower = pair.there(user) if elsewhere else user
    with ExitStack() as stack:
        running = stack.enter_context(created(user, pair.stage.service(THINKS)))
        head = next(running.pieces)
        puppet.release(2)
        followed = [
            stack.enter_context(opened(follower, f"{running.path}/stream", params={"after": after}))
            for after in range(12)
        ]
        puppet.release(3)
        lines = (head + running.rest()).splitlines(keepends=True)
        assert b"interaction-complete" in lines[-1]
        assert 7 < len(lines) < 12
        assert [one.rest() for one in followed] == [b"".join(lines[after:]) for after in range(12)]
    for after in range(12):
        answer = follower.get(f"{running.path}/stream", params={"after": after})
        assert (answer.status_code, answer.content) == (200, b"".join(lines[after:]))


def running_for(client: httpx2.Client, **query: str) -> list[dict[str, Any]]:
    answer = client.get("/conversation/running", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()["running_interactions"]


def _held(stack: ExitStack, pair: Pair, puppet: Puppet, client: httpx2.Client, service: str) -> Running:
    """Begin a turn whose model waits. Return its stream."""
    pair.stage.play(puppet).hold()
    running = stack.enter_context(created(client, service))
    assert puppet.asked.wait(10)
    return running


def test_running_turns_are_seen_at_every_worker_by_who_may_see_their_conversations(pair: Pair) -> None:
    puppet, other = Puppet("One", " two", "."), Puppet()
    hidden = pair.stage.user(user_preferences={"conversations_visible_to_admins": False})
    user, stranger, service = pair.stage.user(), pair.stage.user(), pair.stage.service()
    admin = pair.stage.admin
    with ExitStack() as stack:
        running, secret = (_held(stack, pair, *one, service) for one in ((puppet, user), (other, hidden)))
        ids = [one.path.split("/")[-1] for one in (running, secret)]
        [seen] = running_for(admin, service_id=service)
        assert {**seen, "started_at": ""} == {
            "conversation_id": running.conversation_id,
            "interaction_id": ids[0],
            "number": 1,
            "user_id": user.user_id,
            "service_id": service,
            "version_set_name": "release",
            "started_at": "",
            "state": "thinking",
        }
        assert seen["started_at"].endswith("Z")
        assert running_for(pair.there(admin), service_id=service) == [seen]
        assert [one["interaction_id"] for one in running_for(pair.there(hidden))] == [ids[1]]
        assert running_for(stranger) == running_for(admin, user_id="nobody") == []
        assert running_for(admin, service_id="0" * 24) == running_for(admin, conversation_id="0" * 24) == []

        head = next(running.pieces)
        puppet.release()
        while b"new-message" not in head:
            head += next(running.pieces)
        assert [one["state"] for one in running_for(pair.there(user)) + running_for(user)] == ["speaking"] * 2
        for model, turn in ((puppet, running), (other, secret)):
            model.release(4)
            assert turn.rest()
    assert running_for(pair.there(admin), service_id=service) == running_for(hidden) == []


def test_a_turn_is_cancelled_from_another_worker_and_nothing_of_it_remains(pair: Pair) -> None:
    puppet = pair.stage.play(Puppet())
    puppet.hold()
    user, service, key = pair.stage.user(), pair.stage.service(), secrets.token_hex(8)
    with created(user, service, key) as running:
        assert puppet.asked.wait(10)
        assert pair.there(user).post(f"{running.path}/cancel").status_code == 204
        assert b'"http_error_code":409' in last_line(running.rest())
    assert pair.there(user).get(f"{running.path}/stream").status_code == 404
    assert pair.there(user).post(f"{running.path}/cancel").status_code == 404
    assert talk.conversations(user) == []
    pair.stage.play(Puppet())
    with created(user, service, key, "Something else") as again:
        assert "idempotent-replayed" not in again.response.headers
        assert b"interaction-complete" in last_line(again.rest())


def test_a_cancelled_interaction_leaves_the_conversation_as_it_was(pair: Pair) -> None:
    user = pair.stage.user()
    conversation_id = talk.id_of(talk.begin(user, pair.stage.service(), initial_message="Hello"))
    before = talk.messages(user, conversation_id)
    puppet = pair.stage.play(Puppet())
    puppet.hold()
    parts = [("initial_message_type", (None, "user-message")), ("recorded_message", (None, "More"))]
    params = {"request_format": "text", "response_format": "text"}
    with opened(user, f"/conversation/{conversation_id}/interact", "POST", params=params, files=parts) as running:
        assert puppet.asked.wait(10)
        assert user.post(f"{running.path}/cancel").status_code == 204
        assert b'"type":"error"' in last_line(running.rest())
    assert talk.messages(user, conversation_id) == before
    pair.stage.play(Puppet())
    assert talk.types(talk.go_on(pair.there(user), conversation_id))[-1] == "interaction-complete"


def test_what_is_complete_cannot_be_cancelled(pair: Pair) -> None:
    user = pair.stage.user()
    with created(user, pair.stage.service()) as running:
        running.rest()
    assert user.post(f"{running.path}/cancel").status_code == 409
    assert pair.there(user).post(f"{running.path}/cancel").status_code == 409


def test_a_retry_on_another_worker_follows_the_turn_that_runs(pair: Pair) -> None:
    puppet = pair.stage.play(Puppet())
    puppet.hold()
    user, service, key = pair.stage.user(), pair.stage.service(), secrets.token_hex(8)
    with created(user, service, key) as running, created(pair.there(user), service, key) as again:
        assert again.response.headers["idempotent-replayed"] == "true"
        puppet.release(10)
        assert again.rest() == (body := running.rest())
    with created(pair.there(user), service, key) as later:
        assert later.response.headers["idempotent-replayed"] == "true"
        assert later.rest() == body


def test_a_key_of_another_request_is_refused(pair: Pair) -> None:
    user, service, key = pair.stage.user(), pair.stage.service(), secrets.token_hex(8)
    with created(user, service, key) as running:
        running.rest()
    with created(pair.there(user), service, key, "Something else") as other:
        assert other.response.status_code == 422
    stranger = pair.stage.user()
    with created(stranger, service, key, "Something else") as theirs:
        assert theirs.response.status_code == 201
        theirs.rest()


def test_a_key_is_free_again_after_its_turn_was_void(pair: Pair) -> None:
    pair.stage.play(Puppet(fails=ModelUnavailable("gone")))
    user, service, key = pair.stage.user(), pair.stage.service(), secrets.token_hex(8)
    with created(user, service, key) as void:
        assert b'"type":"error"' in last_line(void.rest())
    pair.stage.play(Puppet())
    with created(user, service, key) as again:
        assert "idempotent-replayed" not in again.response.headers
        assert b"interaction-complete" in last_line(again.rest())


def test_only_who_may_go_on_with_a_conversation_follows_it(pair: Pair) -> None:
    owner, stranger = pair.stage.user(), pair.stage.user()
    with created(owner, pair.stage.service()) as running:
        running.rest()
    unknown = running.path[:-24] + secrets.token_hex(12)
    assert owner.get(f"{unknown}/stream").status_code == 404
    assert owner.post(f"{unknown}/cancel").status_code == 404
    assert stranger.get(f"{running.path}/stream").status_code == 403
    assert stranger.post(f"{running.path}/cancel").status_code == 403


def test_who_may_not_see_the_agents_actions_does_not_see_them_when_coming_back(pair: Pair) -> None:
    """An administrator's turn, who has become a plain user by the time they come back."""
    user = pair.stage.user("DefaultAdministratorRole")
    with created(user, pair.stage.service(THINKS)) as running:
        body = running.rest()
    assert b"current-agent-action" in body
    demote(pair.second, user.user_id)
    seen = pair.there(user).get(f"{running.path}/stream").content
    assert seen.splitlines() == [line for line in body.splitlines() if b"current-agent-action" not in line]


def test_a_follower_elsewhere_hears_of_the_end_of_a_lease_whose_worker_is_frozen(
    serve: Serve, new_database: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker that runs the turn tells nothing more, and renews no lease, but keeps its connections."""

    frozen, renew = threading.Event(), Runner.renew_leases

    async def renew_until_frozen(runner: Runner) -> None:
        if not frozen.is_set():
            await renew(runner)

    monkeypatch.setattr(Runner, "renew_leases", renew_until_frozen)
    database, turn = {"url": new_database(), "pool_size": 4}, {"lease_s": 1, "grace_s": 0}
    switch = Switch()
    first = serve(models=Models(switch), database=database, data=tmp_path, turn=turn)
    stage = Stage(first, switch)
    pair = Pair(stage, serve(models=Models(Switch()), database=database, data=tmp_path, turn=turn))
    puppet = stage.play(Puppet())
    puppet.hold()
    user = stage.user()
    with ExitStack() as stack:
        running = stack.enter_context(created(user, stage.service()))
        assert puppet.asked.wait(10)
        followed = stack.enter_context(opened(pair.there(user), f"{running.path}/stream"))
        assert b"conversation-created" in next(followed.pieces)
        frozen.set()
        assert b'"http_error_code":503' in last_line(followed.rest())
        assert pair.there(user).get(f"{running.path}/stream").status_code == 404
        puppet.release(10)
        assert b'"http_error_code":409' in last_line(running.rest())  # too late: nothing of it is committed
    assert talk.conversations(user) == []


def test_events_that_are_not_kept_any_more_are_gone(serve: Serve) -> None:
    server = serve(turn={"replay_s": 0})
    with created(server.as_user, server.demo.service_id) as running:
        assert b"interaction-complete" in last_line(running.rest())
    assert server.as_user.get(f"{running.path}/stream").status_code == 410
    assert len(talk.messages(server.as_user, running.conversation_id)) == 2


def test_a_crowd_is_refused_at_once_beyond_the_bound(serve: Serve) -> None:
    switch = Switch()
    puppet = switch.model = Puppet()
    puppet.hold()
    stage = Stage(serve(models=Models(switch), turn={"max_running": 2}), switch)
    service, users = stage.service(), [stage.user() for _ in range(10)]

    def attempt(user: httpx2.Client) -> httpx2.Response:
        answer = talk.create(user, service)
        if answer.status_code == 503:
            refused.append(answer)
            if len(refused) == 8:
                puppet.release(100)  # not before all of the others have their answer
        return answer

    refused: list[httpx2.Response] = []
    with ThreadPoolExecutor(len(users)) as pool:
        answers = list(pool.map(attempt, users))
    assert sorted(answer.status_code for answer in answers) == [201] * 2 + [503] * 8
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert talk.create(users[0], stage.service()).status_code == 201


def test_a_server_that_stops_lets_a_turn_finish_and_voids_what_takes_too_long(
    serve: Serve, new_database: Callable[[], str], tmp_path: Path
) -> None:
    database = {"url": new_database(), "pool_size": 4}
    switch = Switch()
    server = serve(models=Models(switch), database=database, data=tmp_path, turn={"grace_s": 0.5})
    stage = Stage(server, switch)
    service, tokens = stage.service(), [stage.user().headers["authorization"] for _ in range(2)]
    after = serve(database=database, data=tmp_path)
    puppets, turns = [Puppet(), Puppet()], []
    with ExitStack() as stack:
        for puppet, token in zip(puppets, tokens, strict=True):
            puppet.hold()
            stage.play(puppet)
            # Not one of the server's own clients: those are closed when it is stopped.
            user = stack.enter_context(httpx2.Client(base_url=server.base, headers={"Authorization": token}))
            turns.append(stack.enter_context(created(user, service)))
            assert puppet.asked.wait(10)
        with ThreadPoolExecutor(1) as pool:
            stopped = pool.submit(server.stop)
            puppets[0].release(10)
            assert b"interaction-complete" in last_line(turns[0].rest())
            assert puppets[1].closed.wait(30)
            puppets[1].release()  # of its thread, which the server would wait for
            stopped.result(30)
    there = [after.client(token.removeprefix("Bearer ")) for token in tokens]
    assert there[0].get(f"{turns[0].path}/stream").status_code == 200
    assert there[1].get(f"{turns[1].path}/stream").status_code == 404
    assert talk.create(there[1], service).status_code == 201
