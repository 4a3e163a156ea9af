"""Vendors of models, as the registry lists them, and the life of the models that they open."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tertulia.providers.base import Embedder, KeepingEmbedder, LanguageModel
from tertulia.providers.models.schema import NOTHING, Schema
from tertulia.settings import Settings

Act = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Lifespan:
    """Work around the life of opened models: before they are first used, and after they were last.

    `shared` holds connections that several models of a vendor use, by the vendor's name. `embedder` is the embedding
    model that models may ask, once it is opened; `keeping` the same for texts of authors, which it reads once.
    """

    starts: list[tuple[LanguageModel, Act]] = field(default_factory=list[tuple[LanguageModel, Act]])
    closes: list[Act] = field(default_factory=list[Act])
    shared: dict[str, Any] = field(default_factory=dict[str, Any])
    embedder: Embedder | None = None
    keeping: KeepingEmbedder | None = None


def _never(_settings: Settings) -> bool:
    """Say that version sets cannot name a vendor's models by their names alone."""
    return False


@dataclass(frozen=True, slots=True)
class Vendor:
    """A vendor of models: its name in the settings, and `open`, which opens one of its models by name.

    `open` adds to the lifespan, and raises ProviderError. `needs` is the extra that brings the vendor's packages, empty
    if there is none. `help` says in a few words of what kind the models are. If `has_access` is true of the settings,
    version sets may name any of the vendor's models. `params` is the JSON schema of the parameters that they take.
    """

    name: str
    open: Callable[[str, Settings, Lifespan], LanguageModel]
    needs: str
    help: str
    has_access: Callable[[Settings], bool] = _never
    params: Schema = field(default_factory=lambda: NOTHING)
