"""A language model whose strings a test holds: it waits where the test says, and fails where the test says."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from tertulia.errors import ModelError
from tertulia.providers.base import Prompt

PATIENCE_S = 20
POLL_S = 0.002


class Puppet:
    """Answers with the pieces it was given. `hold` makes it wait for `release` before each further piece."""

    def __init__(
        self, *pieces: str, choice: str | Exception | None = None, fails: ModelError | Exception | None = None
    ) -> None:
        self.pieces = pieces or ("Hello", " there", ".")
        self.choice = choice
        self.fails = fails
        """Raised after the last piece."""
        self.answers: dict[str, Any] = {"ExtractMemories": {"memories": []}, "GenerateUserModels": {"models": []}}
        """Answers, by the interaction of the prompt, that are given instead of a choice; an exception is raised."""
        self.learned: list[Prompt] = []
        """The prompts that these have answered."""
        self.prompts: list[Prompt] = []
        self.schemas: list[Mapping[str, Any]] = []
        self.asked = threading.Event()
        self.closed = threading.Event()
        self._steps = threading.Semaphore(0)
        self._held = False

    def hold(self) -> None:
        self._held = True

    def release(self, pieces: int = 1) -> None:
        for _ in range(pieces):
            self._steps.release()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str, None]:
        self.prompts.append(prompt)
        self.asked.set()
        try:
            for piece in self.pieces:
                await self._step()
                yield piece
            await self._step()
            if self.fails:
                raise self.fails
        finally:
            self.closed.set()

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        if prompt.interaction in self.answers:
            self.learned.append(prompt)
            answer = self.answers[prompt.interaction]
            if isinstance(answer, Exception):
                raise answer
            return answer
        self.prompts.append(prompt)
        self.schemas.append(schema)
        if isinstance(self.choice, Exception):
            raise self.choice
        options = schema["properties"]["choice"]["enum"]
        return {"choice": self.choice if self.choice in options else options[0]}

    async def _step(self) -> None:
        """Wait for a step. No thread waits for it, which the end of a server would have to wait for."""
        async with asyncio.timeout(PATIENCE_S):
            while self._held and not self._steps.acquire(blocking=False):  # noqa: ASYNC110 - a test lets it go on, from a thread
                await asyncio.sleep(POLL_S)
