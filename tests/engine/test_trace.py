"""The pool of texts that traces of running turns share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tertulia.engine.trace import MOST_TEXT_CHARS, PACKERS, POOLED, TextPool, Trace, read
from tertulia.providers.base import Prompt, Turn


@given(st.lists(st.text("abé\U0001f600", max_size=40), max_size=8))
def test_a_held_text_is_the_text(texts: list[str]) -> None:
    pool = TextPool()

    assert [held.text for held in [pool.hold("agent", text) for text in texts]] == texts


def test_texts_that_differ_in_a_name_are_held_by_that_name() -> None:
    pool = TextPool()
    long = "You are an agent. " * 100
    _, second, third = (
        pool.hold("agent", f"{long}You talk with {name}.{long}") for name in ("Ada", "Grace", "Marie Curie")
    )

    assert second.begins is third.begins
    assert second.ends is third.ends
    assert (second.own, third.own) == ("Grace", "Marie Curie")


@pytest.mark.parametrize("other", ["", "x" * 3000, "completely different"])
def test_a_text_of_another_kind_takes_the_place_of_the_first(other: str) -> None:
    pool = TextPool()
    pool.hold("agent", "a" * 2000)

    assert pool.hold("agent", other).text == other
    assert pool.hold("agent", "a" * 2000).text == "a" * 2000


def test_what_the_pool_has_forgotten_stays_with_those_who_hold_it() -> None:
    pool = TextPool()
    held = [pool.hold(f"agent {number}", f"text {number}") for number in range(POOLED + 10)]

    assert [one.text for one in held] == [f"text {number}" for number in range(POOLED + 10)]


def traced(pool: TextPool, system: str, question: str) -> bytes:
    """Trace a turn that asks a model twice. Return it as it is stored."""
    trace = Trace("prompts", "agent", pool)
    for _ in range(2):
        prompt = Prompt("EngageUser", system, [Turn("user", "Hello \ud83d")], question=question)
        call = trace.call(prompt, None, "text")
        call.hear("Well.")
        call.end()
    body, prompts = trace.encode({})
    assert prompts == 2
    return body


LONG = "You are an agent. \u00e9 \ud83d " * 100


@pytest.mark.parametrize("most", [10, 2000])
def test_what_turns_share_is_read_back_whole_with_what_each_has_of_its_own(most: int) -> None:
    pool = TextPool()
    for name in ("Ada", "Grace", "Marie", "\U0001f600"):
        system, question = f"{LONG}You talk with {name}.{LONG}"[:most], f"Now: greet {name}."
        _, (turn, *calls) = read(traced(pool, system, question))
        assert turn.prompt is None
        for call in calls:
            assert call.prompt is not None
            assert call.prompt.system == system.replace("\ud83d", "?")
            assert call.prompt.history[-1].content == f"Hello ?\n\n{question}"
            assert call.answer == "Well."


def test_a_text_that_is_too_long_is_cut_as_ever() -> None:
    _, (_, call, _) = read(traced(TextPool(), "x" * (2 * MOST_TEXT_CHARS), "?"))
    assert call.prompt is not None
    assert f"{MOST_TEXT_CHARS} characters are not kept" in call.prompt.system


def test_more_kinds_of_turns_than_a_pool_remembers_are_read_back_too() -> None:
    pool = TextPool()
    systems = [f"{number} is another agent. " * 50 for number in range(PACKERS + 10)]
    bodies = [traced(pool, system, "?") for system in systems]
    found = [read(body)[1][1].prompt for body in bodies]
    assert [log and log.system for log in found] == systems
