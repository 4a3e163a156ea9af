"""The pool of texts that traces of running turns share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tertulia.engine.trace import POOLED, TextPool


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
