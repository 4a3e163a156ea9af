"""A caller's regular expression over action types: what it lets through, and its bounds."""

import httpx2
import pytest

from support.server import Server
from tertulia import events
from tertulia.api.conversation.action_filter import EXPANDED, LONGEST, action_filter
from tertulia.errors import Unprocessable

TYPES = [str(kind.__struct_config__.tag) for kind in events.Action.__subclasses__()]

BOMBS = {
    "empty groups": "()" * 28_000,
    "options": "a?" * 30_000,
    "counts within counts": "(a{1000}){1000}",
    "a class many times": r"\pL{1000}",
    "a negated class many times": r"\PN{999}",
    "a class within counts": r"((\pL{30}){30})",
    "many classes": r"[\pL\pN]" * 200,
    "many counts": ".{0,500}" * 200,
    "deep groups": "(" * 1900,
    "one character too many": "a" * (LONGEST + 1),
}


@pytest.mark.parametrize("pattern", BOMBS.values(), ids=BOMBS.keys())
def test_a_pattern_that_would_grow_is_refused(pattern: str) -> None:
    with pytest.raises(Unprocessable) as error:
        action_filter(pattern)
    assert error.value.problems[0]["loc"] == ["query", "current_agent_action_type"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("()" * 1000, True),
        (r"\pL" * EXPANDED, False),
        ("(a|b|)" * 300, True),
        ("[^a]" * 500, False),
        ("(?i)" + "k" * 1990, False),
    ],
)
def test_a_pattern_within_the_bounds_is_taken(pattern: str, found: bool) -> None:
    assert {action_filter(pattern)(kind) for kind in TYPES} == {found}


def test_a_pattern_that_names_every_type_is_taken() -> None:
    named = action_filter("^(" + "|".join(TYPES) + ")$")
    assert {named(kind) for kind in TYPES} == {True}
    assert not named("another")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("decision", True),
        ("^decision", False),
        ("(?i)DECISION", True),
        ("^$", False),
        (r"^\pL+-state", True),
        ("é|decision", True),
        ("é?decision", True),
        ("[^é]decision", True),
        ("[é-ł]", False),
        ("^.{54}$", True),
    ],
)
def test_a_type_passes_when_the_pattern_is_found_in_it(pattern: str, found: bool) -> None:
    assert action_filter(pattern)("navigate-state-machine-decision-state-decision-started") is found


def test_a_pattern_that_is_none_is_refused_with_plain_words(tertulia: Server) -> None:
    answer: httpx2.Response = tertulia.as_user.post(
        "/conversation/",
        params={"response_format": "text", "current_agent_action_type": "(" * 10},
        json={"service_id": tertulia.demo.service_id},
    )
    assert (answer.status_code, answer.json()["message"]) == (
        422,
        "current_agent_action_type: This is not a regular expression, or is too large.",
    )
