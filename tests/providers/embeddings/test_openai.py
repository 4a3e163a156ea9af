"""The adapter for OpenAI's embeddings, against a server on loopback that behaves well and badly."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from providers.chat_server import Answer, sends
from providers.vendor_server import VendorServer, vendor_server
from tertulia.errors import EmbeddingFailed
from tertulia.providers.base import ProviderError
from tertulia.providers.embeddings.openai import MOST_TEXTS, OpenAIEmbedder
from tertulia.providers.embeddings.registry import open_embeddings
from tertulia.providers.embeddings.scripted import ScriptedEmbedder
from tertulia.providers.remote import Remote, open_client
from tertulia.settings import Settings

KEY = "sk-a-very-secret-key"


@asynccontextmanager
async def served(*answers: Answer) -> AsyncGenerator[tuple[OpenAIEmbedder, VendorServer]]:
    headers = {"Authorization": f"Bearer {KEY}"}
    async with vendor_server(*answers) as server, open_client(server.url, headers, 5) as client:
        yield OpenAIEmbedder(Remote(client, EmbeddingFailed, 5, KEY), "tiny"), server


def vectors(*found: list[float], first: int = 0) -> Answer:
    data = [{"object": "embedding", "index": n, "embedding": vector} for n, vector in enumerate(found, first)]
    return sends(json.dumps({"object": "list", "model": "tiny", "data": data}).encode())


async def test_texts_get_their_vectors_in_order() -> None:
    async with served(vectors([1.0, 0.0], [0.0, 1.0])) as (embedder, server):
        assert await embedder.embed(["tea", "rain"]) == [[1.0, 0.0], [0.0, 1.0]]

    [request] = server.requests
    assert request.line == "POST /v1/embeddings HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.json == {"model": "tiny", "input": ["tea", "rain"], "encoding_format": "float"}


async def test_many_texts_are_asked_for_in_parts() -> None:
    async with served(vectors(*[[1.0]] * MOST_TEXTS), vectors([2.0])) as (embedder, server):
        assert len(await embedder.embed(["x"] * (MOST_TEXTS + 1))) == MOST_TEXTS + 1
    assert [len(request.json["input"]) for request in server.requests] == [MOST_TEXTS, 1]


async def test_nothing_is_asked_for_no_texts() -> None:
    async with served(vectors()) as (embedder, server):
        assert await embedder.embed([]) == []
    assert server.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        sends(b"not json"),
        sends(b"{}"),
        sends(b'{"data": [{"index": 0, "embedding": "AAAA"}]}'),
        vectors(),
        vectors([1.0]),
        vectors([1.0], [1.0], [1.0]),
        vectors([1.0], [1.0], first=1),
        vectors([1.0], []),
        vectors([1.0], [1.0, 2.0]),
        sends(b'{"error": "no sk-a-very-secret-key"}', status="401 Unauthorized"),
        sends(b"", status="500 Internal Server Error"),
    ],
)
async def test_an_answer_that_is_none_is_a_failure_without_secrets(answer: Answer) -> None:
    async with served(answer) as (embedder, _server):
        with pytest.raises(EmbeddingFailed) as failure:
            await embedder.embed(["tea", "rain"])
    assert KEY not in failure.value.reason


async def test_a_server_that_is_not_there_is_a_failure() -> None:
    async with open_client("http://127.0.0.1:9/v1", {}, 5) as client:
        with pytest.raises(EmbeddingFailed):
            await OpenAIEmbedder(Remote(client, EmbeddingFailed, 5), "tiny").embed(["tea"])


async def test_the_scripted_embedder_places_texts_with_the_same_words_near() -> None:
    tea, again, rain = await ScriptedEmbedder().embed(["Tea, please.", "please tea", "It rains."])
    assert tea == again
    assert sum(a * b for a, b in zip(tea, rain, strict=True)) == 0


def test_the_settings_name_the_embedding_model() -> None:
    own: Any = {"base_url": "http://127.0.0.1:9/v1", "api_key": ""}
    assert open_embeddings(Settings(embeddings="off")).embedder is None
    assert isinstance(open_embeddings(Settings(embeddings="scripted")).embedder, ScriptedEmbedder)
    assert isinstance(open_embeddings(Settings(embeddings="openai:tiny", openai=own)).embedder, OpenAIEmbedder)
    far: Any = {**own, "base_url": "https://api.openai.com/v1"}
    with pytest.raises(ProviderError, match="needs a key"):
        open_embeddings(Settings(embeddings="openai:tiny", openai=far))
