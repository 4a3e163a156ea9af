"""The contract's rate limits, as callers see them."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from support import redis_server
from support.redis_server import RedisServer
from support.server import Serve, Server, start
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


def test_a_burst_of_guesses_learns_of_no_more_than_may_fail(limited: Server) -> None:
    guesses = [("a key in a burst", f"user {number}") for number in range(2 * FAILURES_A_MINUTE)]

    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(lambda guess: sign_in(limited, *guess).status_code, guesses))

    assert sorted(statuses) == [401] * FAILURES_A_MINUTE + [429] * FAILURES_A_MINUTE


def test_a_right_guess_after_too_many_wrong_ones_is_told_nothing(limited: Server) -> None:
    demo = limited.demo
    for number in range(FAILURES_A_MINUTE):
        assert sign_in(limited, demo.api_key_id, f"user {number}").status_code == 401

    assert sign_in(limited, demo.api_key_id, demo.user_id, demo.api_key).status_code == 429


def test_a_public_endpoint_is_not_limited(limited: Server) -> None:
    assert not set(HEADERS) & set(limited.anonymous.get("/organization/").headers)


def test_without_limits_there_are_no_headers(tertulia: Server) -> None:
    answers = [tertulia.as_admin.get("/organization/agent") for _ in range(25)]

    assert {answer.status_code for answer in answers} == {200}
    assert not set(HEADERS) & set(answers[-1].headers)


@pytest.mark.parametrize("body", [b"{", b'{"service_id": 1}', b"[]"])
def test_an_answer_to_a_body_that_is_none_tells_the_standing_too(limited: Server, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = limited.as_admin.post("/role/", content=body, headers=headers)
    odd = limited.as_admin.get("/role/", params={"continuation_token": "a\0"})

    assert (answer.status_code, standing(answer)[0]) == (422, 20)
    assert (odd.status_code, standing(odd)[0]) == (422, 20)


def test_a_refused_request_is_not_read(limited: Server) -> None:
    answers = [limited.as_user.post("/organization/api_key/", json={}) for _ in range(5)]
    refused = limited.as_user.post("/organization/api_key/", content=b"{", headers={"content-type": "application/json"})

    assert {answer.status_code for answer in answers} == {422}
    assert refused.status_code == 429


# --- Settings --------------------------------------------------------------------------------------------------------


def test_an_operation_has_the_limit_of_its_setting_or_none(serve: Serve) -> None:
    limits = {"get-agents": 2, "get-services": "off", "create-conversation": 7}
    server = serve(rate_limits="contract", limit={"operations": limits})

    agents = [server.as_admin.get("/organization/agent") for _ in range(3)]
    services = [server.as_admin.get("/service/") for _ in range(60)]
    stream = server.as_user.post(
        "/conversation/", params={"response_format": "text"}, json={"service_id": server.demo.service_id}
    )

    assert [answer.status_code for answer in agents] == [200, 200, 429]
    assert {answer.status_code for answer in services} == {200}
    assert not set(HEADERS) & set(services[-1].headers)
    assert standing(stream) == (7, 6)
    assert standing(server.as_admin.get("/role/")) == (20, 19)


def test_one_operation_can_be_limited_where_none_is(serve: Serve) -> None:
    server = serve(rate_limits="off", limit={"operations": {"get-agents": 1}})

    assert [server.as_admin.get("/organization/agent").status_code for _ in range(2)] == [200, 429]
    assert not set(HEADERS) & set(server.as_admin.get("/service/").headers)


# --- Behind a proxy --------------------------------------------------------------------------------------------------


def guesses(server: Server, key_id: str, *addresses: str) -> list[int]:
    """Guess at keys as clients whose addresses a proxy tells. Returns the statuses."""
    url = "/user/signin_with_api_key"
    return [
        server.anonymous.post(
            url,
            headers={
                "x-api-key": "wrong",
                "x-api-key-id": key_id,
                "x-user-id": f"{number}",
                "x-forwarded-for": address,
            },
        ).status_code
        for number, address in enumerate(addresses)
    ]


def test_who_guesses_is_counted_by_the_address_that_a_trusted_proxy_tells(limited: Server) -> None:
    made_up = [f"198.51.100.{number}, 203.0.113.7" for number in range(FAILURES_A_MINUTE + 1)]

    assert guesses(limited, "behind", *made_up)[-2:] == [401, 429]
    assert guesses(limited, "behind", "203.0.113.8") == [401]


def test_nobody_else_is_believed_about_their_address(serve: Serve) -> None:
    server = serve(rate_limits="contract", trusted_proxies=("10.0.0.0/8",))
    made_up = [f"203.0.113.{number}" for number in range(FAILURES_A_MINUTE + 1)]

    assert guesses(server, "alone", *made_up)[-2:] == [401, 429]


# --- Several processes -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shared(serve: Serve) -> Iterator[tuple[Server, Server, RedisServer]]:
    """Two servers of an installation, and their Redis."""
    if redis_server.PROGRAM is None:
        pytest.skip("redis-server is not installed: see .ci/packages")
    with redis_server.running() as redis:
        one = serve(rate_limits="contract", redis={"url": redis.url})
        other = start(one.settings, one.demo, None)
        yield one, other, redis
        other.stop()


def test_two_servers_count_together_and_exactly(shared: tuple[Server, Server, RedisServer]) -> None:
    one, other, _redis = shared
    tokens = [server.as_admin.headers["Authorization"].removeprefix("Bearer ") for server in (one, other)]
    clients = [server.client(tokens[0]) for server in (one, other) for _ in range(8)]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda number: clients[number % 16].get("/organization/agent"), range(48)))

    allowed = [answer for answer in answers if answer.status_code == 200]
    assert sorted(standing(answer)[1] for answer in allowed) == list(range(20))
    assert {answer.status_code for answer in answers} == {200, 429}
    assert all(standing(answer) == (20, 0) for answer in answers if answer.status_code == 429)


def test_a_redis_that_hangs_is_no_reason_to_refuse_anybody(shared: tuple[Server, Server, RedisServer]) -> None:
    one, other, redis = shared
    with redis.frozen():
        answers = [server.as_admin.get("/service/") for server in (one, other) for _ in range(10)]

    assert {answer.status_code for answer in answers} == {200}
    assert [standing(answer)[1] for answer in answers] == [*range(49, 39, -1)] * 2  # each counts for itself
