"""Waiting for what no event tells: of another process, of a library's object, or of the next rounds of the loop."""

import asyncio
from collections.abc import Callable

PATIENCE_S = 20.0


async def until(holds: Callable[[], object], pause_s: float = 0.01) -> None:
    """Wait until a condition holds, which is looked at after each pause; 0: after each round of the loop."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(pause_s)
