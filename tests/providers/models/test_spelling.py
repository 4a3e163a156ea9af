"""Words that are spelled wrongly are read as those of a vocabulary."""

import pytest

from tertulia.providers.models import spelling

WORDS = spelling.words(
    [
        "When do you meet, and where?",
        "I want a book for my daughter",
        "how many pages",
        "who wrote it",
        "When is it",
        "¿Cuándo es la reunión?",
        "Wie viele Seiten hat das Buch?",
        "what was that",
    ]
)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("wen do yu meet", "when do you meet"),
        ("i wnat a boock for my dauhter", "i want a book for my daughter"),
        ("HOW MENY PAGSE?", "HOW many pages?"),
        ("cuando es la reunion", "cuándo es la reunión"),
        ("wie vile Seitn hat das Buch", "wie viele seiten hat das Buch"),
        ("When do you meet?", "When do you meet?"),
        ("Xylophones, 12345 zebras!", "Xylophones, 12345 zebras!"),
        ("", ""),
        ("これは何ですか", "これは何ですか"),
    ],
)
def test_a_word_is_read_as_the_nearest_one_if_one_is_near(written: str, read: str) -> None:
    assert spelling.read(written, WORDS) == read


def test_of_words_that_are_as_near_the_commoner_one_is_meant() -> None:
    assert spelling.read("whem", {"when": 3, "whet": 1, "whom": 1}) == "when"


def test_without_a_vocabulary_a_text_stays_as_it_is() -> None:
    assert spelling.read("wat is it", {}) == "wat is it"
