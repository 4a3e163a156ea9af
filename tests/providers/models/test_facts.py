"""The facts that fit a message, by their words."""

import pytest

from tertulia.providers.base import Turn
from tertulia.providers.models import facts

TEA = "Tea: green, from Japan, 4 euros."
CAKE = "Cake: with apples, 5 euros a piece."
SOUP = "Soup: of tomatoes, hot, 6 euros."
HOURS = "The kitchen closes at nine."
ALL = (TEA, CAKE, SOUP, HOURS)


@pytest.mark.parametrize(
    ("messages", "fitting"),
    [
        (["Is there anything with an apple?"], [CAKE]),
        (["When do you close?"], [HOURS]),
        (["Hot TOMATOES, or apples?"], [SOUP]),
        (["What is the capital of Peru?"], []),
        (["The soup, please.", "Here is the tomato soup.", "What does it cost?"], [SOUP]),
        (["The soup, please.", "Here is the tomato soup.", "And which cakes have you got?"], [CAKE, SOUP]),
        (["(The conversation begins.)"], []),
        ([], []),
    ],
)
def test_a_fact_fits_by_its_rare_words_and_else_by_what_was_said_before(
    messages: list[str], fitting: list[str]
) -> None:
    turns = [Turn("assistant" if n % 2 else "user", text) for n, text in enumerate(messages)]
    assert facts.fitting(ALL, turns) == fitting
