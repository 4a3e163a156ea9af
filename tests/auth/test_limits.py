"""The counters behind the rate limits, with a clock that the test sets."""

import pytest

from tertulia.auth import limits
from tertulia.auth.limits import Allowance, Counters, Limiter
from tertulia.errors import TooManyRequests


class Clock:
    def __init__(self) -> None:
        self.time = 1_000_000.5

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> Limiter:
    return Limiter(clock, clock)


def test_the_request_over_the_limit_is_refused_and_told_when_to_come_back(limiter: Limiter, clock: Clock) -> None:
    limiter.hit(2, "GET /x", "me").refuse()
    clock.time += 20
    limiter.hit(2, "GET /x", "me").refuse()

    with pytest.raises(TooManyRequests) as refused:
        limiter.hit(2, "GET /x", "me").refuse()

    assert refused.value.headers == {"Retry-After": "40"}


def test_a_minute_later_all_begins_anew(limiter: Limiter, clock: Clock) -> None:
    limiter.hit(1, "GET /x", "me").refuse()
    clock.time += 60

    limiter.hit(1, "GET /x", "me").refuse()


@pytest.mark.parametrize("jump", [-86_400, 86_400])
def test_a_clock_that_is_set_keeps_nobody_out_and_lets_nobody_in(clock: Clock, jump: int) -> None:
    today = Clock()
    limiter = Limiter(clock, today)
    limiter.hit(1, "GET /x", "me")
    today.time += jump

    refused = limiter.hit(1, "GET /x", "me")
    clock.time += 60

    assert (refused.retry_after, refused.reset_at) == (60, 1_000_061 + jump)
    assert limiter.hit(1, "GET /x", "me").retry_after == 0


def test_to_look_at_a_standing_counts_nothing(limiter: Limiter) -> None:
    for _ in range(3):
        assert limiter.standing(1, "GET /x", "me").retry_after == 0
    limiter.hit(1, "GET /x", "me")
    assert limiter.standing(1, "GET /x", "me").retry_after == 60


def test_users_and_endpoints_are_counted_apart(limiter: Limiter) -> None:
    limiter.hit(1, "GET /x", "me").refuse()

    limiter.hit(1, "GET /x", "them").refuse()
    limiter.hit(1, "GET /y", "me").refuse()


def test_a_refused_request_has_a_standing_too(limiter: Limiter) -> None:
    assert limiter.hit(1, "GET /x", "me") == Allowance(1, 0, 1_000_061)

    assert limiter.hit(1, "GET /x", "me") == Allowance(1, 0, 1_000_061, retry_after=60)


def test_who_has_every_place_waits_until_one_is_free(limiter: Limiter) -> None:
    with limiter.place(1, "No more.", "me"):
        with pytest.raises(TooManyRequests), limiter.place(1, "No more.", "me"):
            pytest.fail("there was another place")
        with limiter.place(1, "No more.", "them"):
            pass

    with limiter.place(1, "No more.", "me"):
        pass


def test_callers_who_make_up_names_do_not_fill_the_memory(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REMEMBERED", 10)
    counters = Counters(clock)

    for number in range(25):
        counters.incr(str(number), 60)

    assert counters.reset() == 10


def test_windows_that_have_ended_are_forgotten(clock: Clock) -> None:
    counters = Counters(clock)
    counters.incr("old", 60)
    clock.time += 60

    counters.incr("new", 60)

    assert counters.reset() == 1
