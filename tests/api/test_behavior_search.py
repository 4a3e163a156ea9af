"""Searches of dynamic behaviour sets are bounded: in number, in what each reads at once, and by their client's stay."""

import socket
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from support.samples import make_behavior
from support.server import Serve, Server
from support.stage import Stage, Switch
from tertulia.api.behavior import PORTION
from tertulia.runtime import SEARCHES

SETS = "/dynamic_behavior_set/"
PATIENCE_S = 30


class Portions:
    """The statements that read triggers: how many there were, how many at once, and a gate that they wait at."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.reached = threading.Semaphore(0)
        self.count = 0
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def before(self, _connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        if not self._is_one(statement):
            return
        with self._lock:
            self.count += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        self.reached.release()
        assert self.gate.wait(PATIENCE_S)

    def after(self, _connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        if self._is_one(statement):
            with self._lock:
                self._at_once -= 1

    @staticmethod
    def _is_one(statement: str) -> bool:
        return statement.startswith("SELECT") and "searched_triggers" in statement


@contextmanager
def watched() -> Generator[Portions]:
    portions = Portions()
    event.listen(Engine, "before_cursor_execute", portions.before)
    event.listen(Engine, "after_cursor_execute", portions.after)
    try:
        yield portions
    finally:
        portions.gate.set()
        event.remove(Engine, "before_cursor_execute", portions.before)
        event.remove(Engine, "after_cursor_execute", portions.after)


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    """A server with four portions of sets."""
    made = serve(rate_limits="off")
    for _ in range(4 * PORTION):
        make_behavior(made.as_admin)
    return made


@pytest.fixture(scope="module")
def stage(server: Server) -> Stage:
    return Stage(server, Switch())


def search(client: httpx2.Client, query: str = "weather") -> httpx2.Response:
    return client.get(f"{SETS}search", params={"query": query})


def leave_while_searching(server: Server, portions: Portions) -> None:
    """Ask for a search, and leave once it has begun; return when the server has heard of it."""
    address = urlsplit(server.url)
    token = server.as_admin.headers["authorization"]
    target = f"/v1/{server.demo.organization_id}{SETS}search?query=weather"
    with socket.create_connection((str(address.hostname), int(address.port or 0))) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: test\r\nAuthorization: {token}\r\n\r\n".encode())
        assert portions.reached.acquire(timeout=PATIENCE_S)
    assert server.anonymous.get(f"{server.url}/healthz").status_code == 200


def test_a_search_ends_when_its_client_leaves(server: Server) -> None:
    with watched() as portions:
        leave_while_searching(server, portions)
        portions.gate.set()
        assert search(server.as_admin).status_code == 200  # a user's searches follow each other: the first has ended
    assert portions.count == 1 + 4


def test_a_search_whose_client_leaves_while_it_waits_never_begins(server: Server) -> None:
    with watched() as portions, ThreadPoolExecutor(1) as pool:
        first = pool.submit(search, server.as_admin)
        assert portions.reached.acquire(timeout=PATIENCE_S)
        portions.reached.release()
        leave_while_searching(server, portions)
        portions.gate.set()
        assert first.result().status_code == 200
        assert search(server.as_admin).status_code == 200
    assert portions.count == 4 + 4


@pytest.mark.parametrize(("users", "most"), [(1, 1), (6, SEARCHES)])
def test_few_searches_run_at_once(server: Server, stage: Stage, users: int, most: int) -> None:
    clients = [stage.admin, *(stage.user("DefaultAdministratorRole") for _ in range(users - 1))]
    with watched() as portions, ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(search, clients[number % users]) for number in range(6)]
        for _ in range(most):
            assert portions.reached.acquire(timeout=PATIENCE_S)
        assert server.anonymous.get(f"{server.url}/healthz").status_code == 200
        portions.gate.set()
        assert {answer.result().status_code for answer in answers} == {200}
    assert portions.most_at_once == most
    assert portions.count == 6 * 4
