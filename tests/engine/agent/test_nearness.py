"""Nearness of texts: in meaning by an embedding model, each text embedded once, or in words."""

from collections.abc import Sequence

import pytest

from tertulia.engine.agent import nearness
from tertulia.engine.agent.nearness import Nearness, by_words
from tertulia.providers.embeddings.scripted import ScriptedEmbedder

TEXTS = ["They ask about tea.", "Something burns.", "They want to leave."]


class Counting:
    """An embedder that keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[Sequence[str]] = []

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        self.asked.append(list(texts))
        return await ScriptedEmbedder().embed(texts)


async def test_the_nearest_texts_come_first_and_no_more_than_are_wanted() -> None:
    near = Nearness(Counting())

    assert await near.nearest(["The house burns."], TEXTS, 1) == [1]
    assert await near.nearest(["I want to leave."], TEXTS, 2) == [2, 0]


async def test_the_newest_message_counts_most() -> None:
    near = Nearness(Counting())

    assert await near.nearest(["It burns.", "Tea."], TEXTS, 1) == [0]
    assert await near.nearest(["Tea.", "It burns."], TEXTS, 1) == [1]


async def test_a_text_is_embedded_once_and_messages_each_time() -> None:
    embedder = Counting()
    near = Nearness(embedder)

    await near.nearest(["Tea?"], [*TEXTS, TEXTS[0]], 1)
    await near.nearest(["Tea!"], TEXTS, 1)

    assert embedder.asked == [["Tea?", *TEXTS], ["Tea!"]]


async def test_texts_that_were_not_needed_for_long_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearness, "REMEMBERED", 2)
    embedder = Counting()
    near = Nearness(embedder)

    await near.nearest(["Tea?"], TEXTS, 1)
    assert await near.nearest(["Something burns."], TEXTS, 1) == [1]

    assert embedder.asked[1] == ["Something burns.", TEXTS[0]]


async def test_without_an_embedding_model_nothing_is_known() -> None:
    assert await Nearness().nearest(["Tea?"], TEXTS, 1) is None


def test_words_that_are_shared_sort_texts_too() -> None:
    assert by_words(["Does TEA help?", "They burn."], ["Nothing.", "They burn tea.", "Tea."]) == [1, 2, 0]
