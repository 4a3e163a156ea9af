"""A model is chosen for a step, and what it writes enters the engine."""

import asyncio
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

from tertulia.engine.agent.models import PIECES_AT_ONCE, model_for
from tertulia.providers.base import Prompt

PIECES = 20 * PIECES_AT_ONCE


class Torrent:
    """A model that waits for nothing."""

    async def stream(self, _prompt: Prompt) -> AsyncGenerator[str]:
        for _ in range(PIECES):
            yield "word "


async def test_other_work_goes_on_while_a_model_writes_without_a_pause() -> None:
    models: Any = SimpleNamespace(default=Torrent())
    prompt: Any = SimpleNamespace(interaction="engage-user")
    written, rounds = 0, 0

    async def other_work() -> None:
        nonlocal rounds
        while True:
            rounds += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(other_work())
    model, prompt = model_for(models, {}, prompt)
    async for piece in model.stream(prompt):
        written += len(piece)
    beside.cancel()

    assert written == PIECES * len("word ")
    assert rounds >= PIECES // PIECES_AT_ONCE
