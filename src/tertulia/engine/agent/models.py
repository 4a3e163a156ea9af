"""Which model answers which step: the version set's preference where it can be had, else the server's default."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol

from tertulia.providers.base import LanguageModel, Prompt


class Models(Protocol):
    """The models that a server can reach."""

    @property
    def default(self) -> LanguageModel:
        """What answers where nothing else is asked for."""
        ...

    def named(self, llm_name: str) -> LanguageModel | None:
        """The model of a name in a version set; None where this server cannot reach it."""
        ...


def model_for(models: Models, preferences: Mapping[str, Any], prompt: Prompt) -> tuple[LanguageModel, Prompt]:
    """The model for a prompt's step, and the prompt with that model's parameters."""
    preference = preferences.get(prompt.interaction)
    if preference is None:
        return models.default, prompt
    named = models.named(preference["llm_name"])
    if named is None:
        return models.default, prompt
    return named, replace(prompt, params=preference.get("params", {}))
