"""API keys: shown once, for a role below its maker's, and void with all their tokens when they are deleted."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import httpx2
import jwt
import pytest
import sqlalchemy as sa

from support.server import Serve, Server
from support.targets import invite, make_key, make_role, write
from tertulia import clock
from tertulia.auth import roles
from tertulia.auth.api_keys import MOST_KEYS, warn_of_keys
from tertulia.storage.tables import api_keys

KEYS = "/organization/api_key/"


def make(client: httpx2.Client, **changes: Any) -> httpx2.Response:
    return client.post(KEYS, json={"name": "A key", "duration": "P1D", **changes})


def sign_in(server: Server, key: dict[str, str], user_id: str) -> httpx2.Response:
    headers = {"x-api-key": key["api_key"], "x-api-key-id": key["api_key_id"], "x-user-id": user_id}
    return server.anonymous.post("/user/signin_with_api_key", headers=headers)


def listed(client: httpx2.Client) -> dict[str, dict[str, Any]]:
    return {key["key_id"]: key for key in client.get(KEYS).raise_for_status().json()["api_keys"]}


@pytest.fixture(autouse=True)
def _room(as_super: httpx2.Client) -> Iterator[None]:
    """Leave room for the next test's keys."""
    yield
    for key_id, key in listed(as_super).items():
        if key["name"] != "tertulia init":
            as_super.delete(f"{KEYS}{key_id}/")


def test_a_key_signs_in_users_below_its_role_and_is_shown_once(tertulia: Server, as_super: httpx2.Client) -> None:
    made = make(as_super).json()

    found = as_super.get(KEYS)

    assert sign_in(tertulia, made, tertulia.demo.user_id).status_code == 200
    assert sign_in(tertulia, made, tertulia.demo.admin_user_id).status_code == 401
    assert made["api_key"] not in found.text
    stored = listed(as_super)[made["api_key_id"]]
    assert stored["creator"] == {"org_id": "demo", "user_id": tertulia.demo.super_user_id}
    assert (stored["name"], stored["expires_at"]) == ("A key", made["expires_at"])


@pytest.mark.parametrize(
    ("duration", "says"),
    [
        (7, "This must be at least 1 day; "),
        ("P91D", "This must be at most 90 days; "),
        ("7", "This must be a duration; "),
        ("a week", "This must be a duration; "),
        (None, "This must be a duration; "),
        ([], "This must be a duration; "),
    ],
)
def test_a_wrong_duration_is_told_with_the_form_and_the_unit(
    as_super: httpx2.Client, duration: object, says: str
) -> None:
    (problem,) = make(as_super, duration=duration).json()["detail"]
    assert problem["loc"] == ["body", "duration"]
    assert problem["msg"] == f"{says}a duration is ISO 8601, for example P7D or PT12H, or a number of seconds."


@pytest.mark.parametrize(("duration", "days"), [("P1D", 1), ("PT24H", 1), ("P90D", 90)])
def test_a_key_is_good_for_one_to_ninety_days(as_super: httpx2.Client, duration: str, days: int) -> None:
    made = make(as_super, duration=duration, name=None).json()

    left = datetime.fromisoformat(made["expires_at"]) - clock.now()
    assert timedelta(days=days, seconds=-30) < left <= timedelta(days=days)


@pytest.mark.parametrize(
    "changes",
    [{"duration": "PT23H59M59S"}, {"duration": "P90DT1S"}, {"duration": "forever"}, {"duration": None}, {"name": " "}],
)
def test_a_key_out_of_bounds_is_refused(as_super: httpx2.Client, changes: dict[str, Any]) -> None:
    assert make(as_super, **changes).status_code == 422


def test_a_key_is_made_only_for_a_role_below(as_super: httpx2.Client) -> None:
    assert make(as_super, role_name=roles.SUPER_ADMINISTRATOR).status_code == 403
    assert make(as_super, role_name=roles.AMIGO_ADMINISTRATOR).status_code == 201
    assert make(as_super, role_name="Nobody").status_code == 404


def test_of_many_who_make_keys_at_once_twenty_are_made_together(tertulia: Server, as_super: httpx2.Client) -> None:
    there = len(listed(as_super))

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: make(as_super).status_code, range(MOST_KEYS - there + 5)))

    assert sorted(answers) == [201] * (MOST_KEYS - there) + [400] * 5
    write(tertulia, _end, min(listed(as_super)))
    assert make(as_super).status_code == 201


def _end(connection: sa.Connection, key_id: str) -> None:
    past = clock.now() - timedelta(seconds=1)
    connection.execute(sa.update(api_keys).where(api_keys.c.key_id == key_id).values(expires_at=past))


def test_a_deleted_key_takes_its_tokens_along_on_every_server(serve: Serve, tertulia: Server) -> None:
    """Also of a busy endpoint, whose callers are remembered, and of another process's memory."""
    elsewhere = serve(database=tertulia.settings.database.model_dump(), data=tertulia.settings.data)
    key = make_key(tertulia.as_super)
    token = sign_in(tertulia, key, invite(tertulia.as_admin)).json()["id_token"]
    clients = [server.client(token) for server in (tertulia, elsewhere)]
    query, opening = {"response_format": "text"}, {"service_id": tertulia.demo.service_id}
    started = clients[1].post("/conversation/", params=query, json=opening)
    assert started.status_code == 201

    gone = tertulia.as_super.delete(f"{KEYS}{key['api_key_id']}/")

    assert gone.json() == {"deleted_key_id": key["api_key_id"]}
    assert [client.get("/service/").status_code for client in clients] == [401, 401]
    again = [client.post("/conversation/", params=query, json=opening).status_code for client in clients]
    assert again == [401, 401]
    assert sign_in(tertulia, key, tertulia.demo.user_id).status_code == 401
    assert tertulia.as_super.delete(f"{KEYS}{key['api_key_id']}/").status_code == 404


@pytest.mark.both_databases
def test_a_key_speaks_for_nobody_whom_it_does_not_outrank_any_more(tertulia: Server, as_super: httpx2.Client) -> None:
    """Neither when its user rises, nor when its own role falls; also where callers are remembered."""
    query = {"name": roles.USER, "return_permission_grants": True}
    plain = as_super.get("/role/", params=query).json()["roles"][0]["permission_grants"]
    name = make_role(as_super, *plain, {"permission_name": "Organization:GetAgent", "conditions": {}})
    key, user_id = make(as_super, role_name=name).json(), invite(tertulia.as_admin)
    client = tertulia.client(sign_in(tertulia, key, user_id).json()["id_token"])
    opening = {"service_id": tertulia.demo.service_id}

    def statuses() -> list[int]:
        started = client.post("/conversation/", params={"response_format": "text"}, json=opening)
        return [client.get("/service/").status_code, started.status_code]

    assert statuses() == [200, 201]
    as_super.post(f"/role/{roles.ADMINISTRATOR}/assign", json={"user_id": user_id}).raise_for_status()
    assert statuses() == [401, 401]
    as_super.post(f"/role/{roles.USER}/assign", json={"user_id": user_id}).raise_for_status()
    assert statuses() == [200, 400]
    as_super.post(f"/role/{name}", json={"permission_grants": plain}).raise_for_status()
    assert statuses() == [401, 401]


def test_a_token_does_not_outlive_its_key(tertulia: Server, as_super: httpx2.Client) -> None:
    key = make_key(as_super)
    ends = clock.now() + timedelta(minutes=5)

    def shorten(connection: sa.Connection) -> None:
        which = api_keys.c.key_id == key["api_key_id"]
        connection.execute(sa.update(api_keys).where(which).values(expires_at=ends))

    write(tertulia, shorten)
    signed_in = sign_in(tertulia, key, tertulia.demo.user_id).json()

    claims = jwt.decode(signed_in["id_token"], options={"verify_signature": False})
    assert claims["exp"] == int(ends.timestamp())
    assert datetime.fromisoformat(signed_in["expires_at"]) <= ends


def test_administrators_of_the_second_rank_do_not_see_keys(
    tertulia: Server, as_admin: httpx2.Client, as_super: httpx2.Client
) -> None:
    key = make_key(as_super)

    assert listed(as_admin) == {}
    assert make(as_admin, role_name=roles.USER).status_code == 403
    assert as_admin.delete(f"{KEYS}{key['api_key_id']}/").status_code == 403
    assert sign_in(tertulia, key, tertulia.demo.user_id).status_code == 200


def test_the_end_of_a_key_is_warned_of_a_week_and_a_day_before(tertulia: Server, as_super: httpx2.Client) -> None:
    key_id = make(as_super, duration="P90D").json()["api_key_id"]
    told: list[list[str]] = []

    def move_and_look(connection: sa.Connection, left: timedelta, warned_ago: timedelta | None) -> None:
        now = clock.now()
        warned_at = None if warned_ago is None else now - warned_ago
        which = api_keys.c.key_id == key_id
        connection.execute(sa.update(api_keys).where(which).values(expires_at=now + left, warned_at=warned_at))
        told.extend([key.key_id for key in warn_of_keys(connection)] for _ in range(2))

    day = timedelta(days=1)
    for left, warned_ago in ((8 * day, None), (6 * day, None), (day / 2, 5 * day), (-day, None)):
        write(tertulia, move_and_look, left, warned_ago)

    assert told == [[], [], [key_id], [], [key_id], [], [], []]
