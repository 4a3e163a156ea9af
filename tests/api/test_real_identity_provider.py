"""Single sign-on with an identity provider that companies run, and that nobody here has written."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl

import httpx2
import pytest

from support import real_provider
from support.identity_provider import PAGE
from support.real_provider import RealProvider
from support.server import Serve, Server
from tertulia.auth import roles


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def provider(patch: pytest.MonkeyPatch) -> Iterator[RealProvider]:
    with real_provider.running(patch) as provider:
        yield provider


@pytest.fixture(scope="module")
def server(serve: Serve, provider: RealProvider) -> Server:
    groups = {"leads": roles.ADMINISTRATOR, "staff": roles.USER}
    return serve(oidc={"providers": {"demo": provider.settings(roles=groups, make_users=True)}})


def start(server: Server) -> dict[str, str]:
    return dict(server.anonymous.post("/user/signin_with_oidc").raise_for_status().json())


def begin(server: Server) -> tuple[dict[str, str], dict[str, str]]:
    """Begin to sign in and visit the provider. Returns what the page has kept, and what it is led back with."""
    started = start(server)
    led = httpx2.get(started["authorization_url"], trust_env=False)
    assert led.status_code == 302, led.text
    place, _, query = led.headers["location"].partition("?")
    assert place == PAGE
    return started, dict(parse_qsl(query))


def end(server: Server, started: dict[str, str], came: dict[str, str]) -> httpx2.Response:
    body = {"code": came["code"], "state": came["state"], "sealed": started["sealed"]}
    return server.anonymous.post("/user/signin_with_oidc_code", json=body)


def test_it_signs_a_person_in_with_the_role_of_their_groups_once_it_verifies_addresses(
    server: Server, provider: RealProvider, patch: pytest.MonkeyPatch
) -> None:
    provider.join("staff")
    assert end(server, *begin(server)).status_code == 401  # it says nothing of the address

    provider.verify_addresses(patch)
    answer = end(server, *begin(server))

    assert answer.status_code == 200, answer.text
    mine: dict[str, Any] = server.client(answer.json()["id_token"]).get("/user/").json()["users"][0]
    assert (mine["first_name"], mine["email"]) == ("Ada", "ada@acme.example")
    assert mine["role"] == role_id(server, roles.USER)

    provider.join("staff", "leads")
    assert end(server, *begin(server)).status_code == 200
    found = server.as_super.get("/user/", params={"email": "ada@acme.example"}).json()["users"]
    assert [user["role"] for user in found] == [role_id(server, roles.ADMINISTRATOR)]
    provider.join("strangers")
    assert end(server, *begin(server)).status_code == 401


def role_id(server: Server, name: str) -> str:
    return next(role["id"] for role in server.as_super.get("/role/").json()["roles"] if role["name"] == name)


def test_its_codes_are_good_once_and_with_the_proof_alone(
    server: Server, provider: RealProvider, patch: pytest.MonkeyPatch
) -> None:
    provider.verify_addresses(patch)
    provider.join("staff")
    (mine, came), other = begin(server), start(server)

    mixed = end(server, other, {"code": came["code"], "state": other["state"]})  # a code of another sign-in
    answers = [end(server, mine, came) for _ in range(2)]

    assert [mixed.status_code, *(answer.status_code for answer in answers)] == [401, 200, 401]


def test_its_id_token_is_good_at_the_api(server: Server, provider: RealProvider, patch: pytest.MonkeyPatch) -> None:
    provider.verify_addresses(patch)
    provider.join("staff")

    id_token = provider.id_token()
    answers = [server.anonymous.post("/user/signin_with_id_token", json={"id_token": id_token}) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 401]
