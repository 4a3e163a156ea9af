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


@pytest.mark.parametrize("said", ["Hot tomatos, please", "HOT tomattoes?", "a tomatoe"])
def test_a_word_that_is_spelled_wrongly_fits_all_the_same(said: str) -> None:
    assert facts.fitting(ALL, [Turn("user", said)]) == [SOUP]


SEA = "- The Old Man and the Sea, by Ernest Hemingway: short, sad, about a fisherman, Santiago."
DOG = "- The Hound of the Baskervilles, by Arthur Conan Doyle: long, about a dog and Doctor Watson."
BOOKS = (SEA, DOG, HOURS)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("How about The Old Man and the Sea, by Ernest Hemingway? It is", [SEA]),
        ("I have the HOUND of the Baskervilles.", [DOG]),
        ("Hemingway wrote it.", [SEA]),
        ("How about both, The Old Man and the Sea, and The Hound of the Baskervilles?", []),
        ("How many old books are there?", []),
        ("The kitchen closes at nine.", []),
    ],
)
def test_a_fact_is_named_by_what_stands_before_its_colon(text: str, named: list[str]) -> None:
    assert facts.named(BOOKS, text) == named


@pytest.mark.parametrize(
    ("messages", "fitting"),
    [
        (["A dog?", "How about The Hound of the Baskervilles?", "Is it sad?"], [DOG]),
        (["A dog?", "How about The Hound of the Baskervilles?", "It is long.", "Hm.", "Is it short?"], [DOG]),
        (["A dog?", "How about The Hound of the Baskervilles?", "And who is santiago?"], [SEA]),
        (["A dog?", "How about The Hound of the Baskervilles?", "Tell me of Hemmingway"], [SEA]),
        (["Hello", "Hello.", "Is there a sad one?"], [SEA]),
        (["(The conversation begins.)"], []),
        ([], []),
    ],
)
def test_a_reply_may_keep_to_the_fact_that_was_named_last(messages: list[str], fitting: list[str]) -> None:
    turns = [Turn("assistant" if n % 2 else "user", text) for n, text in enumerate(messages)]
    assert facts.named_last(BOOKS, turns) == fitting


def test_twenty_wrong_words_are_read_as_right_ones_and_no_more() -> None:
    odd = [f"qq{letter}zz" for letter in "abcdefghijklmnopqrstuvw"]
    few, many = (Turn("user", " ".join([*words, "tomattoes"])) for words in (odd[:19], odd[:20]))
    assert facts.fitting(ALL, [few]) == [SOUP]
    assert facts.fitting(ALL, [many]) == []
