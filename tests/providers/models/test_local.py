"""Models in this process. With real weights: run by `pytest -m live`, which keeps them in `.data/models`."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import pytest

from tertulia.errors import ModelRefused, ModelTimeout, ModelUnavailable
from tertulia.providers import weights
from tertulia.providers.base import Prompt, Turn

pytest.importorskip("xllamacpp", reason="a library that it needs is missing here", exc_type=ImportError)

from tertulia.providers.models.local import LocalModel

SCHEMA = {
    "type": "object",
    "properties": {"choice": {"type": "string", "enum": ["action-1", "exit-1"]}},
    "required": ["choice"],
}


def said(*messages: str) -> Prompt:
    turns = [Turn("assistant" if number % 2 else "user", text) for number, text in enumerate(messages)]
    return Prompt("EngageUser", "You are a kind host. Answer in one short sentence.", turns, {"max_tokens": 30})


@pytest.fixture(scope="module")
def path() -> Path:
    return weights.fetch(weights.SMOLLM2, Path(".data/models"))


@pytest.fixture
async def model(path: Path) -> AsyncGenerator[LocalModel]:
    model = LocalModel(path, 60)
    await model.start()
    yield model
    await model.aclose()


async def test_a_file_that_is_no_model_is_unavailable(tmp_path: Path):
    (tmp_path / "model.gguf").write_bytes(b"garbage")
    model = LocalModel(tmp_path / "model.gguf", 60)
    with pytest.raises(ModelUnavailable):
        await model.start()
    await model.aclose()


@pytest.mark.live
async def test_a_reply_arrives_in_pieces(model: LocalModel):
    pieces = [piece async for piece in model.stream(said("Hello"))]
    assert len(pieces) > 2
    assert all(pieces)


@pytest.mark.live
async def test_a_choice_satisfies_its_schema(model: LocalModel):
    assert (await model.choose(said("Hello"), SCHEMA))["choice"] in ("action-1", "exit-1")


@pytest.mark.live
async def test_requests_run_side_by_side_and_the_rest_wait(model: LocalModel):
    async def reply(number: int) -> str:
        return "".join([piece async for piece in model.stream(said(f"Say {number}"))])

    assert all(await asyncio.gather(*map(reply, range(5))))


@pytest.mark.live
async def test_a_consumer_that_stops_frees_the_model(model: LocalModel):
    endless = Prompt("EngageUser", "", [Turn("user", "Count to a million")], {"max_tokens": 5000})
    for _ in range(3):
        async with aclosing(model.stream(endless)) as pieces:
            await anext(pieces)
    async with asyncio.timeout(30):
        assert [piece async for piece in model.stream(said("Hello"))]


@pytest.mark.live
async def test_of_a_long_conversation_the_end_is_shown(model: LocalModel):
    assert [piece async for piece in model.stream(said("word " * 5000, "Indeed.", "Hello, who are you?"))]
    with pytest.raises(ModelRefused):
        await anext(model.stream(said("word " * 20_000)))


@pytest.mark.live
async def test_a_model_that_is_reading_can_be_stopped(model: LocalModel):
    reading = asyncio.ensure_future(anext(model.stream(said("word " * 3500))))
    await asyncio.wait([reading], timeout=0.3)
    reading.cancel()
    async with asyncio.timeout(20):
        await model.aclose()


@pytest.mark.live
async def test_a_model_that_gives_nothing_in_time_has_stalled(path: Path):
    model = LocalModel(path, 0.001)
    with pytest.raises(ModelTimeout):
        await anext(model.stream(said("Hello")))
    await model.aclose()
