"""Choices by the meaning of what was said: with an embedding model that knows words only."""

from collections.abc import Sequence

import pytest

from tertulia.errors import EmbeddingFailed
from tertulia.providers.base import BEGINNING, Choice, Option

pytest.importorskip("numpy", reason="a library that it needs is missing here")

from tertulia.providers.models.sorting import Sorting

pytestmark = pytest.mark.asyncio

WORDS = ("tea", "coffee", "bye", "leave", "meet", "day")
CHOICE = Choice(
    {
        "exit-1": Option("farewell", "They leave.", ("bye", "I leave", "bye bye", "now I leave, bye")),
        "exit-2": Option("meetings", "They ask when.", ("when do you meet",)),
        "action-1": Option("drinks", "Offer something.", ("a tea", "coffee?")),
    }
)


class Words:
    """An embedding model that counts a few words, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        self.asked += texts
        return [[float(text.lower().count(word)) for word in WORDS] for text in texts]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("Bye!", "exit-1"),
        ("On which day do you meet?", "exit-2"),
        ("Coffee, please.", "action-1"),
        ("I love tea. Coffee is fine too. I leave.", "exit-1"),
        ("I leave if I do not get a tea. A tea!", "action-1"),
    ],
)
async def test_what_was_said_is_sorted_to_the_sayings_that_it_is_like(text: str, key: str) -> None:
    assert await Sorting().sort(Words(), CHOICE, text) == key


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("by", "exit-1"),
        ("now i leev", "exit-1"),
        ("wen do yu meat", "exit-2"),
        ("a cofe", "action-1"),
        ("COFFFEE", "action-1"),
    ],
)
async def test_words_that_are_spelled_wrongly_are_known_by_their_letters(text: str, key: str) -> None:
    assert await Sorting().sort(Words(), CHOICE, text) == key


async def test_in_doubt_the_conversation_stays() -> None:
    options = {"exit-1": Option("farewell", "They leave.", ("bye",)), "action-1": Option("talk", "Go on.", ("tea",))}
    assert await Sorting().sort(Words(), Choice(options), "???") == "action-1"


async def test_sayings_are_read_ahead() -> None:
    embedder, sorting = Words(), Sorting()
    await sorting.read(embedder, CHOICE)
    embedder.asked.clear()
    await sorting.sort(embedder, CHOICE, "Hello")
    assert set(embedder.asked) == {"Hello"}


@pytest.mark.parametrize(
    ("choice", "text"),
    [
        (CHOICE, " "),
        (CHOICE, BEGINNING),
        (Choice(CHOICE.options, ["Tea is out."]), "A tea"),
        (Choice({**CHOICE.options, "action-2": Option("other", "Anything else.")}), "A tea"),
        (Choice({**CHOICE.options, "action-2": Option("other", "Else.", ("hm",) * 2000)}), "A tea"),
    ],
)
async def test_the_embedding_model_is_asked_only_for_sayings_without_rules_and_not_too_many(
    choice: Choice, text: str
) -> None:
    embedder = Words()
    assert await Sorting().sort(embedder, choice, text) is None
    assert not embedder.asked


async def test_sayings_are_read_once() -> None:
    embedder, sorting = Words(), Sorting()
    for _ in range(3):
        await sorting.sort(embedder, CHOICE, "Hello")
    assert embedder.asked.count("a tea") == 1


async def test_an_embedding_model_that_fails_is_an_error_of_its_own() -> None:
    class Broken(Words):
        async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
            raise EmbeddingFailed("no")

    with pytest.raises(EmbeddingFailed):
        await Sorting().sort(Broken(), CHOICE, "Hello")
