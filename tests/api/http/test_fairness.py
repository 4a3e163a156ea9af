"""One user who asks for everything at once, and ten who ask for a little."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from support.samples import a_name
from support.server import Serve, Server
from tertulia.storage import versioned

PLACES = 2
"""Half of the connections of the server's database."""


class Hold:
    """Lists of agents that wait until the test lets them go."""

    def __init__(self) -> None:
        self.running = 0
        self.go = threading.Event()
        self.full = threading.Event()
        self._real: Any = versioned.list_

    def __call__(self, *arguments: Any) -> Any:
        self.running += 1
        if self.running == PLACES:
            self.full.set()
        assert self.go.wait(60)
        return self._real(*arguments)


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hold]:
    held = Hold()
    monkeypatch.setattr(versioned, "list_", held)
    yield held
    held.go.set()


def test_ten_users_are_answered_while_one_waits_for_forty_lists(serve: Serve, hold: Hold) -> None:
    server = serve(database={"pool_size": 2 * PLACES})
    users = [server.client(server.sign_in(user_id)) for user_id in invite(server, 10)]
    with ThreadPoolExecutor(40) as pool:
        lists = [pool.submit(server.as_admin.get, "/organization/agent") for _ in range(40)]
        assert hold.full.wait(60)
        answers = [user.get("/service/").status_code for _ in range(3) for user in users]
        running = hold.running
        hold.go.set()
        statuses = {future.result().status_code for future in lists}
    assert answers == [200] * 30
    assert running == PLACES
    assert statuses == {200}


def invite(server: Server, number: int) -> list[str]:
    bodies = [
        {
            "first_name": "A",
            "last_name": "B",
            "email": f"{a_name().replace(' ', '-')}@fair.example",
            "role_name": "DefaultUserRole",
        }
        for _ in range(number)
    ]
    return [server.as_admin.post("/user/", json=body).json()["user_id"] for body in bodies]
