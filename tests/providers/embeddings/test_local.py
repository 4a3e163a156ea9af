"""The embedding model in this process, with its real weights."""

import asyncio
import os
from collections.abc import AsyncGenerator

import pytest

from tertulia.engine.agent.nearness import Nearness
from tertulia.errors import EmbeddingFailed
from tertulia.providers.base import ProviderError
from tertulia.providers.embeddings import local
from tertulia.providers.embeddings.local import LABEL, LocalEmbedder
from tertulia.providers.embeddings.registry import open_embeddings
from tertulia.settings import Settings

TRIGGERS = (
    "The user wants to cancel their subscription",
    "The user is angry or complains",
    "The user asks for opening hours",
    "The user wants to speak to a human",
    "The user mentions chest pain",
    "The user asks about prices or discounts",
    "The user talks about their holidays",
    "The user wants to change their address",
    "The user says that they forgot their password",
    "The user asks for a recipe",
)
SAID = {
    "I can't log in any more, it doesn't take my secret word.": 8,
    "How much would it cost me, is there something off for students?": 5,
    "My heart hurts when I breathe.": 4,
    "Ich möchte mit einem Menschen sprechen.": 3,
    "We have moved to another street.": 7,
}

real = pytest.mark.skipif(not local.is_available(), reason="this machine cannot run the model")


@pytest.fixture
async def embedder() -> AsyncGenerator[LocalEmbedder]:
    made = LocalEmbedder()
    yield made
    await made.aclose()


@real
async def test_what_was_said_is_near_to_its_trigger_in_other_words(embedder: LocalEmbedder) -> None:
    nearness = Nearness(embedder)
    for said, trigger in SAID.items():
        found = await nearness.nearest([said], TRIGGERS, 3)
        assert found is not None
        assert trigger in found, said


@real
async def test_any_text_has_a_vector_and_the_event_loop_goes_on(embedder: LocalEmbedder) -> None:
    odd = ["", "\0", "a\0b", "\ud800", "x" * 1_000_000, "🙂" * 1000]
    before = os.environ.get("OMP_NUM_THREADS")
    working = asyncio.create_task(embedder.embed(odd))
    turns = 0
    while not working.done():
        await asyncio.sleep(0)
        turns += 1
    vectors = await working
    assert [len(vector) for vector in vectors] == [384] * len(odd)
    assert turns > 10
    assert os.environ.get("OMP_NUM_THREADS") == before
    assert await embedder.embed([]) == []


async def test_a_model_that_breaks_is_a_failure_and_no_other_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks() -> None:
        raise OSError("no such file")

    monkeypatch.setattr(local, "_load", breaks)
    with pytest.raises(EmbeddingFailed):
        await LocalEmbedder().embed(["text"])


@pytest.mark.parametrize(
    ("wish", "model", "there", "label"),
    [
        ("auto", "local", True, LABEL),
        ("auto", "scripted", True, ""),
        ("auto", "local", False, ""),
        ("off", "local", True, ""),
        ("local", "scripted", True, LABEL),
        ("scripted", "local", True, "scripted"),
    ],
)
async def test_it_is_used_where_nothing_else_is_set(
    monkeypatch: pytest.MonkeyPatch, wish: str, model: str, there: bool, label: str
) -> None:
    monkeypatch.setattr(local, "is_available", lambda: there)
    opened = open_embeddings(Settings(embeddings=wish, model=(model,)))
    assert (opened.label, opened.embedder is None) == (label, not label)
    await opened.aclose()


def test_a_wish_that_cannot_be_met_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "is_available", lambda: False)
    with pytest.raises(ProviderError, match="the extra `embeddings`"):
        open_embeddings(Settings(embeddings="local"))
