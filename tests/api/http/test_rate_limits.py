"""The contract's rate limits, as callers see them."""

import time
from collections.abc import Callable

import httpx2
import pytest

from support.server import Server

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


def test_signing_in_is_limited_for_each_key(limited: Server) -> None:
    def sign_in(key_id: str) -> httpx2.Response:
        headers = {"x-api-key": "wrong", "x-api-key-id": key_id, "x-user-id": limited.demo.user_id}
        return limited.anonymous.post("/user/signin_with_api_key", headers=headers)

    answers = [sign_in("guessed") for _ in range(6)]

    assert [answer.status_code for answer in answers] == [401] * 5 + [429]
    assert standing(answers[-1]) == (5, 0)
    assert sign_in("another").status_code == 401


def test_a_public_endpoint_is_not_limited(limited: Server) -> None:
    assert not set(HEADERS) & set(limited.anonymous.get("/organization/").headers)


def test_without_limits_there_are_no_headers(tertulia: Server) -> None:
    answers = [tertulia.as_admin.get("/organization/agent") for _ in range(25)]

    assert {answer.status_code for answer in answers} == {200}
    assert not set(HEADERS) & set(answers[-1].headers)
