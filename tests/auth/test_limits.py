"""The counters behind the rate limits, with a clock that the test sets."""

import pytest

from tertulia.auth import limits
from tertulia.auth.limits import Allowance, Limiter, Windows
from tertulia.errors import TooManyRequests

ME = ("GET /x", "me")


class Clock:
    def __init__(self) -> None:
        self.time = 1_000_000.5

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def windows(clock: Clock) -> Windows:
    return Windows(clock, clock)


@pytest.fixture
def limiter(windows: Windows) -> Limiter:
    return Limiter(windows)


def test_the_request_over_the_limit_is_refused_and_told_when_to_come_back(windows: Windows, clock: Clock) -> None:
    windows.count(2, ME, 1).refuse()
    clock.time += 20
    windows.count(2, ME, 1).refuse()

    with pytest.raises(TooManyRequests) as refused:
        windows.count(2, ME, 1).refuse()

    assert refused.value.headers == {"Retry-After": "40"}


def test_a_minute_later_all_begins_anew(windows: Windows, clock: Clock) -> None:
    windows.count(1, ME, 1).refuse()
    clock.time += 60

    windows.count(1, ME, 1).refuse()


@pytest.mark.parametrize("jump", [-86_400, 86_400])
def test_a_clock_that_is_set_keeps_nobody_out_and_lets_nobody_in(clock: Clock, jump: int) -> None:
    today = Clock()
    windows = Windows(clock, today)
    windows.count(1, ME, 1)
    today.time += jump

    refused = windows.count(1, ME, 1)
    clock.time += 60

    assert (refused.retry_after, refused.reset_at) == (60, 1_000_061 + jump)
    assert windows.count(1, ME, 1).retry_after == 0


async def test_to_look_at_a_standing_counts_nothing(limiter: Limiter) -> None:
    for _ in range(3):
        assert await limiter.allowance("look", 1, "me") == Allowance(1, 1, 1_000_061)
    await limiter.hit("look", 1, "me")
    assert await limiter.allowance("look", 1, "me") == Allowance(1, 0, 1_000_061, retry_after=60)


def test_users_and_endpoints_are_counted_apart(windows: Windows) -> None:
    windows.count(1, ("GET /x", "me"), 1).refuse()

    windows.count(1, ("GET /x", "them"), 1).refuse()
    windows.count(1, ("GET /y", "me"), 1).refuse()


def test_a_refused_request_has_a_standing_too(windows: Windows) -> None:
    assert windows.count(1, ME, 1) == Allowance(1, 0, 1_000_061)

    assert windows.count(1, ME, 1) == Allowance(1, 0, 1_000_061, retry_after=60)


@pytest.mark.parametrize(
    ("usual", "name", "limit"),
    [
        (True, "kept", 5),
        (True, "more", 70),
        (True, "none", None),
        (True, "more:beside", 5),
        (True, "none:beside", None),
        (False, "kept", None),
        (False, "more", 70),
        (False, "kept:beside", None),
    ],
)
def test_a_setting_changes_the_limit_of_one_operation(windows: Windows, usual: bool, name: str, limit: int) -> None:
    limiter = Limiter(windows, None, {"more": 70, "none": "off"}, usual=usual)

    assert limiter.limit_of(name, 5) == limit


def test_who_has_every_place_waits_until_one_is_free(limiter: Limiter) -> None:
    with limiter.place(1, "No more.", "me"):
        with pytest.raises(TooManyRequests), limiter.place(1, "No more.", "me"):
            pytest.fail("there was another place")
        with limiter.place(1, "No more.", "them"):
            pass

    with limiter.place(1, "No more.", "me"):
        pass


def test_callers_who_make_up_names_do_not_fill_the_memory(windows: Windows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REMEMBERED", 10)

    for number in range(25):
        windows.count(1, (str(number),), 1)

    assert len(windows) == 10


def test_windows_that_have_ended_are_forgotten(windows: Windows, clock: Clock) -> None:
    windows.count(1, ("old",), 1)
    clock.time += 60

    windows.count(1, ("new",), 1)

    assert len(windows) == 1
