"""The end of `tertulia serve`: turns that run are worth waiting for, within the time of grace."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from support.commands import PATIENCE_S, Command, Process, Start

pytestmark = pytest.mark.heavy

PIECES, PAUSE_MS = "30", "100"
"""Three seconds of speech."""

STOPPING = "The server is stopping."


class Caller:
    """Asks a server as a demo user, each time by a new connection."""

    def __init__(self, url: str, service_id: str, token: str) -> None:
        self.client = httpx2.Client(
            base_url=f"{url}/v1/demo",
            headers={"Authorization": f"Bearer {token}", "Connection": "close"},
            timeout=PATIENCE_S,
            trust_env=False,
        )
        self.creation: dict[str, Any] = {
            "params": {"response_format": "text"},
            "json": {"service_id": service_id},
        }

    def begin(self) -> httpx2.Response:
        """A new conversation's stream, of which nothing has been read."""
        request = self.client.build_request("POST", "/conversation/", **self.creation)
        answer = self.client.send(request, stream=True)
        assert answer.status_code == 201
        return answer

    def create(self) -> httpx2.Response:
        return self.client.post("/conversation/", **self.creation)

    def unfinished(self) -> list[Any]:
        answer = self.client.get("/conversation/", params={"is_finished": False})
        return answer.json()["conversations"]


Callers = Callable[[Process], tuple[Caller, Caller]]


@pytest.fixture
def callers(command: Command, data: Path, made: dict[str, str]) -> Callers:
    """Makes the demo user and the administrator callers of a server."""
    tokens = [command("token", "--data", data, *who).stdout.strip() for who in ([], ["--admin"])]

    def call(server: Process) -> tuple[Caller, Caller]:
        user, administrator = (Caller(server.url, made["service_id"], token) for token in tokens)
        return user, administrator

    return call


class Watch:
    """Asks each process of a server whether it is ready, over connections made in time."""

    def __init__(self, server: Process) -> None:
        workers = server.workers()
        self._clients = [server.client_of(worker) for worker in workers] or [server.client_of(None)]

    def wait_until_it_stops(self) -> None:
        """Until all have heard the signal, which a process does when it comes to it."""
        until = time.monotonic() + PATIENCE_S
        while any(client.get("/readyz").status_code == 200 for client in self._clients):
            assert time.monotonic() < until


def is_refused(answer: httpx2.Response) -> bool:
    return (answer.status_code, answer.json()) == (503, {"detail": STOPPING}) and int(answer.headers["Retry-After"]) > 0


@pytest.mark.parametrize(("workers", "how"), [(1, signal.SIGINT), (2, signal.SIGTERM)])
def test_a_running_turn_ends_before_the_server_does_and_new_ones_are_refused(
    start: Start, data: Path, callers: Callers, workers: int, how: int
) -> None:
    slow = {"TERTULIA_SCRIPTED_PIECES": PIECES, "TERTULIA_SCRIPTED_DELAY_MS": PAUSE_MS}
    server = start("serve", "--data", data, "--port", "0", "--workers", workers, **slow)
    user, administrator = callers(server)
    lines = user.begin().iter_lines()
    conversation_id = json.loads(next(lines))["conversation_id"]
    watch = Watch(server)
    server.process.send_signal(how)
    watch.wait_until_it_stops()
    assert is_refused(administrator.create())
    form = {"initial_message_type": (None, "user-message"), "recorded_message": (None, "Hello")}
    query = {"request_format": "text", "response_format": "text"}
    assert is_refused(user.client.post(f"/conversation/{conversation_id}/interact", params=query, files=form))
    assert user.client.get("/service/").status_code == 200  # what is no turn is answered
    assert json.loads(list(lines)[-1])["type"] == "interaction-complete"
    assert server.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_turn_that_takes_too_long_is_void(start: Start, data: Path, callers: Callers, workers: int) -> None:
    slow = {"TERTULIA_SCRIPTED_DELAY_MS": "60000", "TERTULIA_TURN_GRACE_S": "0.5"}
    server = start("serve", "--data", data, "--port", "0", "--workers", workers, **slow)
    lines = callers(server)[0].begin().iter_lines()
    next(lines)
    server.process.terminate()
    last = json.loads(list(lines)[-1])
    assert (last["type"], last["http_error_code"], last["error_description"]) == ("error", 503, STOPPING)
    assert server.process.wait(PATIENCE_S) == 0
    user, _ = callers(start("serve", "--data", data, "--port", "0"))
    assert user.unfinished() == []
    assert user.create().status_code == 201


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_signal_ends_the_time_of_grace(start: Start, data: Path, callers: Callers, workers: int) -> None:
    slow = {"TERTULIA_SCRIPTED_DELAY_MS": "60000", "TERTULIA_TURN_GRACE_S": "600"}
    server = start("serve", "--data", data, "--port", "0", "--workers", workers, **slow)
    lines = callers(server)[0].begin().iter_lines()
    next(lines)
    watch = Watch(server)
    server.process.terminate()
    watch.wait_until_it_stops()
    server.process.terminate()
    assert json.loads(list(lines)[-1])["type"] == "error"
    assert server.process.wait(PATIENCE_S) == 0


def test_ctrl_c_of_a_terminal_reaches_the_workers_once(start: Start, data: Path, callers: Callers) -> None:
    slow = {"TERTULIA_SCRIPTED_PIECES": PIECES, "TERTULIA_SCRIPTED_DELAY_MS": PAUSE_MS}
    server = start("serve", "--data", data, "--port", "0", "--workers", 2, **slow)
    lines = callers(server)[0].begin().iter_lines()
    next(lines)
    for process in [psutil.Process(server.process.pid), *server.workers()]:
        process.send_signal(signal.SIGINT)
    assert json.loads(list(lines)[-1])["type"] == "interaction-complete"
    assert server.process.wait(PATIENCE_S) == 0


def test_workers_end_when_their_parent_is_killed(start: Start, data: Path) -> None:
    server = start("serve", "--data", data, "--port", "0", "--workers", "2")
    workers = server.workers()
    assert len(workers) == 2
    server.stop(signal.SIGKILL)
    _gone, left = psutil.wait_procs(workers, timeout=PATIENCE_S)
    assert left == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_ends_is_replaced(start: Start, data: Path, how: int) -> None:
    server = start("serve", "--data", data, "--port", "0", "--workers", "2")
    before = server.workers()
    before[0].send_signal(how)
    until = time.monotonic() + PATIENCE_S
    while len(server.workers()) < 2 or before[0] in server.workers():
        assert time.monotonic() < until
    assert server.client_of(server.workers()[-1]).get("/readyz").status_code == 200
    assert server.stop() == 0
