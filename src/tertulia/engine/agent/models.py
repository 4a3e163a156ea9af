"""The choice of a model for a step: the version set's preference, else the server's default; never another one."""

from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tertulia.errors import ModelMissing
from tertulia.providers.base import LanguageModel, Prompt, Sign


class Models(Protocol):
    """The models that an organization can reach."""

    @property
    def default(self) -> LanguageModel:
        """The model that answers if nothing else is asked for."""
        ...

    def named(self, llm_name: str) -> LanguageModel | None:
        """Get the model of a name in a version set. Returns None if this server cannot reach it."""
        ...


class AllModels(Protocol):
    """The models of a server."""

    def of(self, org_id: str) -> Models:
        """Get the models that an organization can reach."""
        ...


def model_for(models: Models, preferences: Mapping[str, Any], prompt: Prompt) -> tuple[LanguageModel, Prompt]:
    """Choose the model for a prompt's step. Returns it, and the prompt with that model's parameters.

    Raises:
        ModelMissing: the version set names a model that this server cannot reach.
    """
    preference = preferences.get(prompt.interaction)
    if preference is None:
        return models.default, prompt
    name = preference["llm_name"]
    named = models.named(name)
    if named is None:
        raise ModelMissing(name)
    return named, replace(prompt, params=preference.get("params", {}))


@dataclass(frozen=True, slots=True)
class AttendedModels:
    """Models whose signs of life reach the turn: one that thinks, or falls back to another, has not stalled."""

    models: Models
    alive: Callable[[], None]

    @property
    def default(self) -> LanguageModel:
        """The model that answers if nothing else is asked for."""
        return _Attended(self.models.default, self.alive)

    def named(self, llm_name: str) -> LanguageModel | None:
        """Get the model of a name in a version set. Returns None if this server cannot reach it."""
        model = self.models.named(llm_name)
        return None if model is None else _Attended(model, self.alive)


@dataclass(frozen=True, slots=True)
class _Attended:
    model: LanguageModel
    alive: Callable[[], None]

    def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        return self.model.stream(self._attended(prompt))

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        return await self.model.choose(self._attended(prompt), schema)

    def _attended(self, prompt: Prompt) -> Prompt:
        def tell(sign: Sign) -> None:
            self.alive()
            prompt.tell(sign)

        return replace(prompt, tell=tell)
