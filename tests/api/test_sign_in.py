"""Signing in, and every way to show a token."""

import base64
from datetime import datetime, timedelta
from typing import Any

import httpx2
import pytest

from support.server import Server


def key_headers(tertulia: Server, **changes: str) -> dict[str, str]:
    return {
        "x-api-key": tertulia.demo.api_key,
        "x-api-key-id": tertulia.demo.api_key_id,
        "x-user-id": tertulia.demo.user_id,
    } | {name.replace("_", "-"): value for name, value in changes.items()}


def sign_in(client: httpx2.Client, headers: dict[str, str]) -> httpx2.Response:
    return client.post("/user/signin_with_api_key", headers=headers)


def test_an_api_key_gives_a_token_that_works_for_an_hour(tertulia: Server, anonymous: httpx2.Client) -> None:
    answer = sign_in(anonymous, key_headers(tertulia))

    assert answer.status_code == 200
    body: dict[str, str] = answer.json()
    assert set(body) == {"id_token", "expires_at"}
    left = datetime.fromisoformat(body["expires_at"]) - datetime.now().astimezone()
    assert timedelta(minutes=58) < left <= timedelta(hours=1)
    listed = tertulia.client(body["id_token"]).get("/user/").json()["users"]
    assert [user["user_id"] for user in listed] == [tertulia.demo.user_id]


def test_a_wrong_key_and_an_unknown_user_are_refused_alike(tertulia: Server, anonymous: httpx2.Client) -> None:
    answers = [
        sign_in(anonymous, key_headers(tertulia, **change))
        for change in ({"x_api_key": "wrong"}, {"x_api_key_id": "unknown"}, {"x_user_id": "nobody"})
    ]

    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].headers["www-authenticate"] == "Bearer"


def test_missing_headers_are_named(anonymous: httpx2.Client) -> None:
    answer = anonymous.post("/user/signin_with_api_key")

    assert answer.status_code == 422
    assert [problem["loc"] for problem in answer.json()["detail"]] == [
        ["header", "x-api-key"],
        ["header", "x-api-key-id"],
        ["header", "x-user-id"],
    ]


def test_an_unknown_organization_is_not_found(tertulia: Server, anonymous: httpx2.Client) -> None:
    answer = anonymous.post(f"{tertulia.url}/v1/nowhere/user/signin_with_api_key", headers=key_headers(tertulia))

    assert answer.status_code == 404
    assert answer.json() == {"detail": "There is no organization nowhere."}


def shown(tertulia: Server, **headers: str) -> httpx2.Response:
    return tertulia.client(**headers).get("/user/")


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def test_a_token_is_accepted_in_each_of_its_places(tertulia: Server) -> None:
    token = tertulia.sign_in(tertulia.demo.user_id)
    username = f"{tertulia.demo.organization_id}_{tertulia.demo.user_id}"
    places: list[dict[str, str]] = [
        {"Authorization": f"Bearer {token}"},
        {"Authorization": basic(username, token)},
        {"Sec-WebSocket-Protocol": f"bearer.authorization.amigo.ai.{token}"},
        {"Authorization": f"Bearer {token}", "X-ORG-ID": tertulia.demo.organization_id},
    ]

    assert [shown(tertulia, **place).status_code for place in places] == [200] * len(places)


def test_what_contradicts_the_token_is_refused(tertulia: Server) -> None:
    token = tertulia.sign_in(tertulia.demo.user_id)
    contradictions: list[dict[str, str]] = [
        {"Authorization": f"Bearer {token}", "X-ORG-ID": "other"},
        {"Authorization": basic(f"{tertulia.demo.organization_id}_{tertulia.demo.admin_user_id}", token)},
        {"Authorization": basic("", token)},
    ]

    assert [shown(tertulia, **headers).status_code for headers in contradictions] == [401] * len(contradictions)


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer nonsense", "Basic !", "Digest x", "Bearer ä.b.c"]
)
def test_without_a_valid_token_nothing_is_told(tertulia: Server, authorization: str | None) -> None:
    headers: dict[str, Any] = {} if authorization is None else {"Authorization": authorization.encode()}

    answer = tertulia.anonymous.get("/user/", headers=headers)

    assert answer.status_code == 401
    assert set(answer.json()) == {"detail"}


def test_an_api_key_is_no_token(tertulia: Server) -> None:
    assert shown(tertulia, Authorization=f"Bearer {tertulia.demo.api_key}").status_code == 401


def test_credentials_come_before_fields(anonymous: httpx2.Client) -> None:
    assert anonymous.get("/user/", params={"limit": "many"}).status_code == 401


def test_a_deleted_users_token_is_refused(tertulia: Server, as_admin: httpx2.Client) -> None:
    invitation = {"first_name": "A", "last_name": "B", "email": "gone@example.com", "role_name": "DefaultUserRole"}
    user_id = as_admin.post("/user/", json=invitation).json()["user_id"]
    client = tertulia.client(tertulia.sign_in(user_id))
    assert client.get("/user/").status_code == 200

    as_admin.delete(f"/user/{user_id}")

    assert client.get("/user/").status_code == 401
