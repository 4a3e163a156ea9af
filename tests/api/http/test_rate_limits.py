"""The contract's rate limits, as callers see them."""

import time
from collections.abc import Callable

import httpx2
import pytest

from support.server import Server
from tertulia.api.http.rate_limit import FAILURES_A_MINUTE

HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")


@pytest.fixture(scope="module")
def limited(serve: Callable[..., Server]) -> Server:
    return serve(rate_limits="contract")


def standing(answer: httpx2.Response) -> tuple[int, int]:
    """The limit and what remains of it; the reset must be within the minute."""
    limit, remaining, reset = (int(answer.headers[name]) for name in HEADERS)
    assert 0 <= reset - time.time() <= 61
    return limit, remaining


def test_the_request_over_the_limit_is_told_when_to_come_back(limited: Server) -> None:
    answers = [limited.as_admin.get("/organization/agent") for _ in range(21)]

    assert [answer.status_code for answer in answers] == [200] * 20 + [429]
    assert [standing(answer) for answer in answers] == [(20, left) for left in range(19, -1, -1)] + [(20, 0)]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert answers[-1].json() == {"detail": "More than 20 requests a minute to this endpoint."}


def test_other_users_and_other_endpoints_are_not_held_up(limited: Server) -> None:
    for _ in range(21):
        limited.as_admin.get("/organization/service_hierarchical_state_machine")

    assert limited.as_user.get("/organization/service_hierarchical_state_machine").status_code == 200
    assert limited.as_admin.get("/service/").status_code == 200


def test_a_stream_and_an_error_tell_the_standing_too(limited: Server) -> None:
    params = {"response_format": "text"}

    stream = limited.as_user.post("/conversation/", params=params, json={"service_id": limited.demo.service_id})
    wrong = limited.as_user.post("/conversation/", params=params, json={})

    assert (stream.status_code, standing(stream)) == (201, (5, 4))
    assert (wrong.status_code, standing(wrong)) == (422, (5, 3))


def sign_in(server: Server, key_id: str, user_id: str, key: str = "wrong") -> httpx2.Response:
    headers = {"x-api-key": key, "x-api-key-id": key_id, "x-user-id": user_id}
    return server.anonymous.post("/user/signin_with_api_key", headers=headers)


def test_signing_in_is_limited_for_each_key_and_user(limited: Server) -> None:
    answers = [sign_in(limited, "guessed", "one") for _ in range(6)]

    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert standing(answers[-1]) == (5, 0)
    assert sign_in(limited, "guessed", "another").status_code == 401
    assert sign_in(limited, "another", "one").status_code == 401


def test_a_backend_signs_in_more_than_a_hundred_times_a_minute_with_one_key(limited: Server) -> None:
    role = "DefaultUserRole"
    users = [
        limited.as_admin.post(
            "/user/",
            json={"first_name": "A", "last_name": "B", "email": f"u{number}@many.example", "role_name": role},
        ).json()["user_id"]
        for number in range(40)
    ]
    demo = limited.demo
    answers = [sign_in(limited, demo.api_key_id, user, demo.api_key) for user in users for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}


def test_guessing_is_stopped_whoever_the_users_are(limited: Server) -> None:
    key_id = "a key somebody knows"
    answers = [sign_in(limited, key_id, f"user {number}") for number in range(FAILURES_A_MINUTE + 5)]

    assert [answer.status_code for answer in answers] == [401] * FAILURES_A_MINUTE + [429] * 5
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    assert sign_in(limited, "another key", "user 1").status_code == 401


def test_a_public_endpoint_is_not_limited(limited: Server) -> None:
    assert not set(HEADERS) & set(limited.anonymous.get("/organization/").headers)


def test_without_limits_there_are_no_headers(tertulia: Server) -> None:
    answers = [tertulia.as_admin.get("/organization/agent") for _ in range(25)]

    assert {answer.status_code for answer in answers} == {200}
    assert not set(HEADERS) & set(answers[-1].headers)
