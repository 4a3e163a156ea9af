"""Choices by the meaning of what was said: with an embedding model that knows words only."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import Any

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


@pytest.mark.parametrize(("text", "moved"), [("bye bye", True), ("Leave me a day", False)])
async def test_what_has_moved_the_conversation_moves_it_again_only_if_that_is_sure(text: str, moved: bool) -> None:
    again = Choice(CHOICE.options, has_moved=True)
    first, then = await Sorting().sort(Words(), CHOICE, text), await Sorting().sort(Words(), again, text)
    assert (first, then) == ("exit-1", "exit-1" if moved else "action-1")


TEA = Option("tea", "Somebody wants tea.", ("a tea", "tea please", "some tea"))
COFFEE = Option("coffee", "Somebody wants coffee.", ("a coffee", "coffee please", "some coffee"))
NONE = Option("none", "None of these.", ("when do you meet", "on which day"))
MATTERS = Choice({"m-1": TEA, "m-2": COFFEE, "none": NONE}, otherwise="none")


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("A tea, please!", ["m-1"]),
        ("Do you meet on Monday?", ["none"]),
        ("A tea or a coffee, on the day when we meet", ["m-1", "m-2", "none"]),
    ],
)
async def test_of_matters_that_is_left_which_may_be_meant_and_it_alone_if_that_is_sure(
    text: str, left: list[str]
) -> None:
    assert [*(await Sorting().sift(Words(), MATTERS, text)).options] == left


@pytest.mark.parametrize(
    "choice",
    [
        replace(MATTERS, held="m-2"),
        Choice({"m-2": replace(COFFEE, sayings=("a coffee",)), "none": NONE}, otherwise="none"),
    ],
)
async def test_a_matter_that_goes_on_or_has_few_sayings_is_left_to_the_model(choice: Choice) -> None:
    assert [*(await Sorting().sift(Words(), choice, "When do you meet?")).options] == ["m-2", "none"]


async def test_matters_without_sayings_and_a_message_without_words_are_left_to_the_model() -> None:
    bare = Choice({"m-1": replace(TEA, sayings=()), "none": NONE}, otherwise="none")
    sorting, words = Sorting(), Words()
    assert await sorting.sift(words, bare, "tea") is bare
    assert await sorting.sift(words, MATTERS, " ") is MATTERS
    assert words.asked == []


async def test_where_nothing_but_exits_can_be_chosen_one_is_however_unsure() -> None:
    exits = {key: option for key, option in CHOICE.options.items() if key != "action-1"}
    assert await Sorting().sort(Words(), Choice(exits, has_moved=True), "A day to meet") == "exit-2"


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


MANY = Choice(
    {
        "exit-1": Option("farewell", "They leave.", ("bye", "I leave", *(f"farewell {n}" for n in range(300)))),
        "action-1": Option("drinks", "Offer.", ("a tea", "coffee?", *(f"something to drink {n}" for n in range(300)))),
    }
)


async def test_a_message_waits_for_the_sayings_that_are_near_and_the_others_are_read_beside_it() -> None:
    embedder, beside = Words(), list[Coroutine[Any, Any, None]]()
    sorting = Sorting(beside.append)
    assert await sorting.sort(embedder, MANY, "now I leav, bye") == "exit-1"
    assert {"bye", "I leave"} <= set(embedder.asked)
    assert len(embedder.asked) < 100
    (reading,) = beside
    await reading
    before = len(embedder.asked)
    assert await sorting.sort(embedder, MANY, "a tea") == "action-1"
    assert embedder.asked[before:] == ["a tea"]
    assert len(set(embedder.asked)) == len(sorting_texts(MANY)) + 2


async def test_messages_that_come_meanwhile_do_not_have_everything_read_again() -> None:
    embedder, beside = Words(), list[Coroutine[Any, Any, None]]()
    sorting = Sorting(beside.append)
    await sorting.sort(embedder, MANY, "bye")
    tasks = [asyncio.ensure_future(reading) for reading in beside]
    await asyncio.sleep(0)
    await sorting.sort(embedder, MANY, "coffee")
    await asyncio.gather(*tasks)
    assert len(beside) == 1


class Keeping(Words):
    """The same, which knows some texts already."""

    async def known(self, texts: Sequence[str]) -> Mapping[str, Sequence[float]]:
        read = [text for text in texts if text != "a tea"]
        return dict(zip(read, await Words().embed(read), strict=True))


async def test_sayings_whose_vectors_are_kept_are_not_read() -> None:
    embedder, keeping = Words(), Keeping()
    sorting = Sorting(lambda _reading: pytest.fail("nothing is left to read"))
    assert await sorting.sort(embedder, MANY, "Bye!", keeping) == "exit-1"
    assert keeping.asked == ["a tea"]
    assert "bye" not in embedder.asked


def sorting_texts(choice: Choice) -> set[str]:
    return {saying for option in choice.options.values() for saying in option.sayings}


async def test_an_embedding_model_that_fails_is_an_error_of_its_own() -> None:
    class Broken(Words):
        async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
            raise EmbeddingFailed("no")

    with pytest.raises(EmbeddingFailed):
        await Sorting().sort(Broken(), CHOICE, "Hello")
