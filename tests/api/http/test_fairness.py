"""One user who asks for everything at once, and ten who ask for a little."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from operations import OPERATIONS
from support.samples import a_name
from support.server import Serve, Server
from support.targets import nowhere
from tertulia.api.person import EXPORTS_AT_ONCE, PlacedArchive
from tertulia.auth.places import Places, UserKey
from tertulia.storage import person, versioned

PLACES = 2
"""Half of the connections of the server's database."""


class Hold:
    """A unit of storage that waits until the test lets it go."""

    def __init__(self, unit: Any) -> None:
        self.running = 0
        self.go = threading.Event()
        self.full = threading.Event()
        self._unit = unit

    def __call__(self, *arguments: Any) -> Any:
        self.running += 1
        if self.running == PLACES:
            self.full.set()
        assert self.go.wait(60)
        return self._unit(*arguments)


@pytest.fixture
def hold(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hold]:
    held = Hold(versioned.list_)
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


def test_every_operation_of_a_caller_takes_one_of_their_places(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve()
    taken: list[UserKey] = []
    take = Places.take

    async def told(self: Places, user: UserKey) -> None:
        taken.append(user)
        await take(self, user)

    monkeypatch.setattr(Places, "take", told)
    without: list[str] = []
    for operation in OPERATIONS:
        taken.clear()
        client, path = operation.by(server), operation.at(nowhere(operation))
        client.request(operation.method, path, params={"dry_run": "true"})
        caller = server.demo.super_user_id if operation.least == "super" else server.demo.admin_user_id
        if (server.demo.organization_id, caller) not in taken:
            without.append(operation.id)

    strangers = {operation.id for operation in OPERATIONS if operation.least == "nobody"}
    assert len(OPERATIONS) > 5 * len(strangers)
    assert set(without) <= {*strangers, "create-organization"}  # its caller is of another organization: five a minute


def test_ten_users_are_answered_while_one_exports_all_that_they_may(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(database={"pool_size": 2 * PLACES}, rate_limits="contract")
    users = [server.client(server.sign_in(user_id)) for user_id in invite(server, 10)]
    hold = Hold(person.list_portions)
    monkeypatch.setattr(person, "list_portions", hold)
    export = f"/user/{server.demo.admin_user_id}/export"
    with ThreadPoolExecutor(EXPORTS_AT_ONCE) as pool:
        exports = [pool.submit(server.as_admin.get, export) for _ in range(EXPORTS_AT_ONCE)]
        assert hold.full.wait(60)
        refused = server.as_admin.get(export)
        answers = [user.get("/service/").status_code for _ in range(3) for user in users]
        running = hold.running
        hold.go.set()
        statuses = {future.result().status_code for future in exports}
    assert (refused.status_code, "exports already" in refused.text) == (429, True)
    assert answers == [200] * 30
    assert running == PLACES
    assert statuses == {200}
    assert server.as_admin.get(export).status_code == 200


def test_an_export_too_many_is_refused_before_it_is_recorded(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(rate_limits="contract")
    export = f"/user/{server.demo.admin_user_id}/export"
    answer, settled, go = PlacedArchive.__call__, threading.Semaphore(0), threading.Event()

    async def answer_later(archive: PlacedArchive, *streams: Any) -> None:
        settled.release()
        assert await asyncio.to_thread(go.wait, 60)
        await answer(archive, *streams)

    def ask() -> int:
        status = server.as_admin.get(export).status_code
        settled.release()
        return status

    monkeypatch.setattr(PlacedArchive, "__call__", answer_later)
    with ThreadPoolExecutor(2 * EXPORTS_AT_ONCE) as pool:
        exports = [pool.submit(ask) for _ in range(2 * EXPORTS_AT_ONCE)]
        assert all(settled.acquire(timeout=60) for _ in exports)
        go.set()
        statuses = sorted(future.result() for future in exports)
    recorded = server.as_super.get("/audit/", params={"object_id": server.demo.admin_user_id}).json()["audit_lines"]
    assert statuses == [200] * EXPORTS_AT_ONCE + [429] * EXPORTS_AT_ONCE
    assert [line["action"] for line in recorded].count("export-user") == EXPORTS_AT_ONCE
    assert server.as_admin.get(export).status_code == 200


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
