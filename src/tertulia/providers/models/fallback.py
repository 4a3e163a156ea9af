"""Several models as one: the next is tried only while nothing of a reply has been given out."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import structlog
from structlog.typing import FilteringBoundLogger

from tertulia.errors import ModelError, ModelMisbehaved, NoRoom
from tertulia.providers.base import LanguageModel, Prompt, Report
from tertulia.providers.models import chat

_log: FilteringBoundLogger = structlog.get_logger(__name__)


class FallbackModel:
    """Models by name, in order of preference. If all fail, the last one's error is raised."""

    def __init__(self, models: Sequence[tuple[str, LanguageModel]]) -> None:
        self._models = models

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        """Ask one model after another for a reply. Return the pieces of the first that gives any."""
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
            except NoRoom:
                raise
            except Exception as error:
                failure = chat.unexpected(error)
                if started:
                    raise failure from error
            _report(name, prompt, failure)
            prompt.tell("alive")
        raise failure

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        """Ask one model after another for a choice. Return the first that satisfies the schema."""
        failure: ModelError = ModelMisbehaved("no model is configured")
        for name, model in self._models:
            try:
                return await model.choose(prompt, schema)
            except Exception as error:  # noqa: BLE001 - as above
                failure = chat.unexpected(error)
                _report(name, prompt, failure)
                prompt.tell("alive")
        raise failure


def _report(name: str, prompt: Prompt, failure: ModelError) -> None:
    prompt.report(Report("failed", name, error=type(failure).__name__))
    _log.warning(
        "model failed before its first piece",
        model=name,
        interaction=prompt.interaction,
        error=type(failure).__name__,
        reason=failure.reason,
    )
