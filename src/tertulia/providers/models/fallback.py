"""Several models as one: the next is tried only while nothing of a reply has been given out."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger

from tertulia.errors import ModelError, ModelMisbehaved
from tertulia.providers.base import LanguageModel, Prompt

_log: FilteringBoundLogger = structlog.get_logger(__name__)


class FallbackModel:
    """Models by name, in order of preference. When all fail, the last one's error is raised."""

    def __init__(self, models: Sequence[tuple[str, LanguageModel]]) -> None:
        self._models = models

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        failure: ModelError = ModelMisbehaved("no model is configured")
        for name, model in self._models:
            started = False
            try:
                async with aclosing(model.stream(prompt)) as pieces:
                    async for piece in pieces:
                        started = True
                        yield piece
                if started:
                    return
                failure = ModelMisbehaved("an empty reply")
            except ModelError as error:
                if started:
                    raise
                failure = error
            _report(name, prompt, failure)
        raise failure

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        failure: ModelError = ModelMisbehaved("no model is configured")
        for name, model in self._models:
            try:
                return await model.choose(prompt, schema)
            except ModelError as error:
                failure = error
                _report(name, prompt, failure)
        raise failure


def _report(name: str, prompt: Prompt, failure: ModelError) -> None:
    _log.warning(
        "model failed before its first piece",
        model=name,
        interaction=prompt.interaction,
        error=type(failure).__name__,
        reason=failure.reason,
    )
