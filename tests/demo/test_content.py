"""The demo's texts hold together: what a small model needs of them is there."""

from typing import Any

import pytest

from tertulia.demo import sayings as words
from tertulia.demo.content import AGENT, CONTEXT_GRAPH
from tertulia.engine.graph import sayings
from tertulia.providers.models import facts

FACTS = tuple(line for line in AGENT["background"].splitlines() if not line.endswith(":"))
STATES = [state for state in CONTEXT_GRAPH["states"] if state.get("exit_conditions")]


def _options(state: dict[str, Any]) -> list[str]:
    return [*state["actions"], *(exit_["description"] for exit_ in state["exit_conditions"])]


@pytest.mark.parametrize("state", STATES, ids=lambda state: state["name"])
def test_every_option_has_sayings_and_no_saying_has_two_meanings(state: dict[str, Any]) -> None:
    said = [saying for text in _options(state) for saying in sayings.split(text)[1]]
    assert all(sayings.split(text)[1] for text in _options(state))
    assert len(said) == len(set(said))


@pytest.mark.parametrize("state", STATES, ids=lambda state: state["name"])
def test_every_book_that_is_recommended_is_a_fact(state: dict[str, Any]) -> None:
    for action in state["actions"]:
        replies: list[str] = []
        while (wording := sayings.phrased(action, replies).wording) and wording not in replies:
            replies.append(wording)
            if wording.startswith("How about"):
                assert len(facts.named(FACTS, wording)) == 1


def test_all_books_come_one_after_the_other() -> None:
    action = next(a for a in STATES[0]["actions"] if sayings.split(a)[1] == words.ANOTHER)
    replies: list[str] = []
    for _ in range(6):
        replies.append(sayings.phrased(action, replies).wording)
    assert len({facts.named(FACTS, reply)[0] for reply in replies}) == 6
