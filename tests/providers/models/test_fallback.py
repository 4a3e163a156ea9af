"""Several models as one."""

from collections.abc import AsyncGenerator

import pytest
from structlog.testing import capture_logs

from tertulia.errors import ModelMisbehaved, ModelUnavailable
from tertulia.providers.base import Prompt, Turn
from tertulia.providers.models.fallback import FallbackModel
from tertulia.providers.models.scripted import ScriptedModel

PROMPT = Prompt("EngageUser", "", [Turn("user", "Hi")])
SCHEMA = {"enum": ["yes"]}
GOOD = ScriptedModel(3)
DEAD = ScriptedModel(3, fail_after=0)
FRAIL = ScriptedModel(3, fail_after=2)


class Silent(ScriptedModel):
    async def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        for piece in ():
            yield piece


async def reply(*models: ScriptedModel) -> list[str]:
    named = [(f"model-{number}", model) for number, model in enumerate(models)]
    return [piece async for piece in FallbackModel(named).stream(PROMPT)]


async def test_the_next_model_answers_when_the_first_gives_nothing():
    with capture_logs() as logs:
        assert len(await reply(DEAD, GOOD)) == 3
    assert [(log["model"], log["error"], log["reason"]) for log in logs] == [
        ("model-0", "ModelUnavailable", "scripted to fail")
    ]


async def test_no_other_model_is_tried_after_the_first_piece():
    pieces = FallbackModel([("frail", FRAIL), ("good", GOOD)]).stream(PROMPT)
    assert await anext(pieces)
    assert await anext(pieces)
    with pytest.raises(ModelUnavailable):
        await anext(pieces)


async def test_an_empty_reply_counts_as_none():
    assert len(await reply(Silent(), GOOD)) == 3
    with pytest.raises(ModelMisbehaved):
        await reply(Silent())


async def test_the_last_error_is_raised_when_all_fail():
    with pytest.raises(ModelUnavailable):
        await reply(DEAD, DEAD)
    with pytest.raises(ModelUnavailable):
        await FallbackModel([("dead", DEAD)]).choose(PROMPT, SCHEMA)


async def test_a_choice_falls_back_too():
    assert await FallbackModel([("dead", DEAD), ("good", GOOD)]).choose(PROMPT, SCHEMA) == "yes"


async def test_a_consumer_that_stops_closes_the_model_in_use():
    pieces = FallbackModel([("good", GOOD)]).stream(PROMPT)
    await anext(pieces)
    await pieces.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(pieces)
