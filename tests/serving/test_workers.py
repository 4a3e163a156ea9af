"""Two workers of `tertulia serve`: whichever a connection ends at, it is the same server."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from operations import BY_ID, OPERATIONS
from support.commands import PATIENCE_S, Command, Process, Starter, run_here
from support.targets import nowhere

pytestmark = pytest.mark.heavy

PIECES, PAUSE_MS = 20, 100
"""Two seconds of speech: time enough to ask the other worker."""


@dataclass
class Pair:
    """A server with two workers, and what talks to each of them."""

    server: Process
    data: Path
    variables: dict[str, str]
    service_id: str
    token: str
    clients: ExitStack

    def client(self, worker: int) -> httpx2.Client:
        """The demo user's, with one connection, to the first or the second worker."""
        made = self.server.client_of(self.server.workers()[worker], Authorization=f"Bearer {self.token}")
        self.clients.callback(made.close)
        return made

    def begin(self, worker: int, **headers: str) -> httpx2.Response:
        """A new conversation's stream, of which nothing has been read."""
        client = self.client(worker)
        request = client.build_request(
            "POST",
            "/v1/demo/conversation/",
            params={"response_format": "text"},
            json={"service_id": self.service_id},
            headers=headers,
        )
        answer = client.send(request, stream=True)
        assert answer.status_code == 201, answer.read()
        return answer


@pytest.fixture(scope="module")
def _pair(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    data = folder / "data"
    variables = {"TERTULIA_DATABASE_URL": database_url}
    made = json.loads(run_here(["init", "--data", str(data), "--json"], "", variables).stdout)
    token = run_here(["token", "--data", str(data)], "", variables).stdout.strip()
    speech = {"TERTULIA_SCRIPTED_PIECES": str(PIECES), "TERTULIA_SCRIPTED_DELAY_MS": str(PAUSE_MS)}
    starter = Starter(folder)
    try:
        started = ["serve", "--data", data, "--port", "0", "--workers", 2]
        server = starter(*started, **variables, **speech, TERTULIA_RATE_LIMITS="off")
        yield Pair(server, data, variables, made["service_id"], token, ExitStack())
        assert server.stop() == 0
    finally:
        starter.end()


@pytest.fixture
def pair(_pair: Pair) -> Iterator[Pair]:
    """The module's pair; afterwards its user has no unfinished conversation."""
    with ExitStack() as _pair.clients:
        yield _pair
        done = run_here(["finish", "--data", str(_pair.data), "--url", _pair.server.url], "", _pair.variables)
        assert done.returncode == 0, done.stderr


def _turn(stream: httpx2.Response) -> str:
    """The path of the turn that a stream tells."""
    conversation_id = stream.headers["X-Tertulia-Conversation-Id"]
    return f"/v1/demo/conversation/{conversation_id}/interaction/{stream.headers['X-Tertulia-Interaction-Id']}"


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end


@pytest.mark.parametrize(("here", "there"), [(0, 1), (1, 0)])
def test_a_turn_of_one_worker_is_followed_at_the_other_while_it_runs(pair: Pair, here: int, there: int) -> None:
    stream = pair.begin(here)
    with pair.client(there).stream("GET", f"{_turn(stream)}/stream", params={"after": 1}) as followed:
        assert followed.status_code == 200
        lines = followed.iter_lines()
        first = next(lines)
        busy = pair.client(there).post(_turn(stream).partition("/interaction")[0] + "/finish/")
        assert busy.status_code == 409  # it runs
        rest = [first, *lines]
    assert list(stream.iter_lines())[1:] == rest
    assert json.loads(rest[-1])["type"] == "interaction-complete"


def test_a_turn_of_one_worker_is_cancelled_at_the_other(pair: Pair) -> None:
    stream = pair.begin(0)
    assert pair.client(1).post(f"{_turn(stream)}/cancel").status_code == 204
    assert json.loads(list(stream.iter_lines())[-1])["type"] == "error"
    assert pair.client(1).get(f"{_turn(stream)}/stream").status_code == 404
    list(pair.begin(1).iter_lines())  # nothing of it is in the way


def test_a_key_replays_at_the_other_worker_while_the_turn_runs(pair: Pair) -> None:
    first = pair.begin(0, **{"Idempotency-Key": "once"})
    second = pair.begin(1, **{"Idempotency-Key": "once"})
    assert "Idempotent-Replayed" not in first.headers
    assert second.headers["Idempotent-Replayed"] == "true"
    assert _turn(first) == _turn(second)
    assert first.read() == second.read()
    third = pair.begin(1, **{"Idempotency-Key": "once"})
    assert third.read() == first.content


def _counted(client: httpx2.Client) -> float:
    counts = re.findall(
        r'^tertulia_http_requests_total\{.*route="/healthz".*\} (\S+)$', client.get("/metrics").text, re.MULTILINE
    )
    return sum(map(float, counts))


def test_metrics_of_both_workers_add_up_at_each(pair: Pair) -> None:
    clients = [pair.client(0), pair.client(1)]
    before = _counted(clients[0])
    for client, times in zip(clients, (2, 3), strict=True):
        for _ in range(times):
            client.get("/healthz")
    _until(lambda: [_counted(client) for client in clients] == [before + 5] * 2)


@pytest.fixture
def maintenance(pair: Pair) -> Iterator[Callable[[str], int]]:
    """`tertulia maintenance on|off`; it is off afterwards."""

    def turn(word: str) -> int:
        return run_here(["maintenance", word, "--data", str(pair.data)], "", pair.variables).returncode

    yield turn
    assert turn("off") == 0


def test_maintenance_is_503_for_every_operation_at_each_worker_and_turns_go_on(
    pair: Pair, maintenance: Callable[[str], int]
) -> None:
    clients = [pair.client(0), pair.client(1)]

    def statuses(path: str) -> list[int]:
        return [client.get(path).status_code for client in clients]

    stream = pair.begin(0)
    assert [maintenance("on"), maintenance("on")] == [0, 0]
    _until(lambda: statuses("/v1/demo/service/") == [503, 503])
    refused: dict[str, Any] = {}
    for one in OPERATIONS:
        content = b"nonsense" if one.json or one.form else None
        answer = clients[0].request(one.method, "/v1/demo" + one.at(nowhere(one)), content=content)
        refused[one.id] = (answer.status_code, answer.json()["detail"], answer.headers.get("Retry-After"))
    assert refused == dict.fromkeys(BY_ID, (503, "The service is under maintenance.", "30"))
    assert statuses("/readyz") == [200, 200]
    assert json.loads(list(stream.iter_lines())[-1])["type"] == "interaction-complete"
    assert maintenance("off") == 0
    _until(lambda: statuses("/v1/demo/service/") == [200, 200])


def test_maintenance_of_a_folder_without_an_installation_is_refused(command: Command, data: Path) -> None:
    done = command("maintenance", "on", "--data", data)
    assert (done.returncode, done.stdout) == (1, "")
    assert "holds no installation" in done.stderr
