"""Which models there are: a table of what opens each vendor's, and those that the settings name.

`scripted`, `local`, `local:NAME`, `openai:NAME`, and `VENDOR:NAME` for every vendor that pydantic-ai knows.
"""

from collections.abc import Callable

from tertulia.providers.base import LanguageModel, Lifespan, ProviderError
from tertulia.providers.fallback import FallbackModel
from tertulia.providers.scripted import ScriptedModel
from tertulia.settings import Settings

Opener = Callable[[str, Settings, Lifespan], LanguageModel]
"""Opens a vendor's model by its name; what it needs at the start and at the end, it adds to the lifespan."""


class Models:
    """The models of a process. `default` is what `settings.model` names: the first, and what to fall back to."""

    def __init__(
        self,
        default: LanguageModel,
        open_named: Callable[[str], LanguageModel | None] = lambda _name: None,
        lifespan: Lifespan | None = None,
    ) -> None:
        self.default = default
        self._open_named = open_named
        self._named: dict[str, LanguageModel | None] = {}
        self._lifespan = lifespan or Lifespan()

    def named(self, llm_name: str) -> LanguageModel | None:
        """The model that the contract calls `llm_name`, or None where the settings cannot reach it."""
        if llm_name not in self._named:
            self._named[llm_name] = self._open_named(llm_name)
        return self._named[llm_name]

    async def start(self) -> None:
        """Load what takes long, off the event loop; without it the first prompt waits for that."""
        for start in self._lifespan.starts:
            await start()

    async def aclose(self) -> None:
        """Give back connections and memory."""
        for close in reversed(self._lifespan.closes):
            await close()


def open_models(settings: Settings) -> Models:
    """The models that the settings name. Raises ProviderError where one cannot be opened."""
    lifespan = Lifespan()
    opened = [(name, _open(name, settings, lifespan)) for name in settings.model]
    if not opened:
        raise ProviderError("TERTULIA_MODEL names no model.")
    default = opened[0][1] if len(opened) == 1 else FallbackModel(opened)
    return Models(default, lifespan=lifespan)


def _open(spec: str, settings: Settings, lifespan: Lifespan) -> LanguageModel:
    vendor, _, name = spec.partition(":")
    if vendor not in _OPENERS:
        raise ProviderError(f"There is no model named {spec!r}.")
    return _OPENERS[vendor](name, settings, lifespan)


def _open_scripted(_name: str, settings: Settings, _lifespan: Lifespan) -> LanguageModel:
    return ScriptedModel(settings.scripted.pieces, settings.scripted.delay_ms)


_OPENERS: dict[str, Opener] = {"scripted": _open_scripted}
