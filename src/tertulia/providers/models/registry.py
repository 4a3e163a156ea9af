"""Which models there are: a table of what opens each vendor's, and those that the settings name.

`scripted`, `local`, `local:NAME`, `openai:NAME`, and `VENDOR:NAME` for every vendor that pydantic-ai knows.
"""

import os
import re
from collections.abc import Callable
from functools import partial

import structlog
from structlog.typing import FilteringBoundLogger

from tertulia.errors import ModelError
from tertulia.providers import weights
from tertulia.providers.base import LanguageModel, Lifespan, ProviderError
from tertulia.providers.machine import require_machine
from tertulia.providers.models.fallback import FallbackModel
from tertulia.providers.models.openai_compatible import OpenAICompatibleModel, open_client
from tertulia.providers.models.scripted import ScriptedModel
from tertulia.providers.remote import check_access
from tertulia.providers.weights import WeightsUnavailable
from tertulia.settings import Settings

_log: FilteringBoundLogger = structlog.get_logger(__name__)

MOST_NAMED = 256
"""Names of models that version sets may bring in during a process's life: each keeps connections open."""

Opener = Callable[[str, Settings, Lifespan], LanguageModel]
"""Opens a vendor's model by its name; what it needs at the start and at the end, it adds to the lifespan."""


class Models:
    """The models of a process. `default` is what `settings.model` names: the first, and what to fall back to."""

    def __init__(
        self,
        default: LanguageModel,
        open_named: Callable[[str], LanguageModel | None] = lambda _name: None,
        lifespan: Lifespan | None = None,
        without: Callable[[LanguageModel], LanguageModel] | None = None,
    ) -> None:
        self.default = default
        self._open_named = open_named
        self._named: dict[str, LanguageModel | None] = {}
        self._lifespan = lifespan or Lifespan()
        self._without = without

    def named(self, llm_name: str) -> LanguageModel | None:
        """The model that the contract calls `llm_name`, or None where the settings cannot reach it."""
        if llm_name not in self._named:
            if len(self._named) >= MOST_NAMED:
                _log.warning("Too many models are named: the default answers for one more.", model=llm_name)
                return None
            self._named[llm_name] = self._open_named(llm_name)
        return self._named[llm_name]

    async def start(self) -> None:
        """Load what takes long, off the event loop; without it the first prompt waits for that.

        A model that cannot be loaded is left out, as one whose weights are not here: the log says so.
        """
        for model, start in self._lifespan.starts:
            try:
                await start()
            except ModelError as error:
                if self._without is None:
                    raise
                _log.warning("A model cannot be loaded.", reason=error.reason)
                self.default = self._without(model)

    async def aclose(self) -> None:
        """Give back connections and memory."""
        for close in reversed(self._lifespan.closes):
            await close()


def open_models(settings: Settings) -> Models:
    """The models that the settings name. Raises ProviderError where one cannot be opened.

    Weights that are not here are no reason to stop: the log says so, and the models that are left are used, in the end
    the scripted one.
    """
    lifespan = Lifespan()
    opened: dict[str, LanguageModel] = {}
    for spec in settings.model:
        try:
            opened[spec] = _open(spec, settings, lifespan)
        except WeightsUnavailable as error:
            _log.warning(str(error), model=spec)

    def without(model: LanguageModel) -> LanguageModel:
        for spec in [spec for spec, other in opened.items() if other is model]:
            del opened[spec]
        return _join(opened, settings, lifespan)

    default = _join(opened, settings, lifespan)
    return Models(default, lambda name: opened.get(name) or _open_named(name, settings, lifespan), lifespan, without)


def _join(opened: dict[str, LanguageModel], settings: Settings, lifespan: Lifespan) -> LanguageModel:
    if not opened:
        _log.warning("There is no other model: going on with the scripted one.")
        opened["scripted"] = _open_scripted("", settings, lifespan)
    return next(iter(opened.values())) if len(opened) == 1 else FallbackModel([*opened.items()])


def _open(spec: str, settings: Settings, lifespan: Lifespan) -> LanguageModel:
    vendor, _, name = spec.partition(":")
    return _OPENERS.get(vendor, partial(_open_vendor, vendor))(name, settings, lifespan)


def _open_named(llm_name: str, settings: Settings, lifespan: Lifespan) -> LanguageModel | None:
    """The contract's `openai_NAME` and `google_NAME`, also written with a colon, where there is a key for them."""
    match = _NAMED.fullmatch(llm_name)
    if match is None or not _CONFIGURED[match["vendor"]](settings):
        return None
    try:
        return _open(f"{match['vendor']}:{match['name']}", settings, lifespan)
    except ProviderError as error:
        _log.warning(str(error), model=llm_name)
        return None


def _open_scripted(_name: str, settings: Settings, _lifespan: Lifespan) -> LanguageModel:
    return ScriptedModel(settings.scripted.pieces, settings.scripted.delay_ms)


def _open_openai(name: str, settings: Settings, lifespan: Lifespan) -> LanguageModel:
    key = settings.openai.api_key.get_secret_value()
    url = settings.openai.base_url
    if not name:
        raise ProviderError("The model's name is missing: openai:NAME.")
    check_access("OPENAI", url, key)
    client = open_client(url, key, settings.turn.stall_s)
    lifespan.closes.append(client.aclose)
    return OpenAICompatibleModel(client, name, settings.turn.stall_s, key)


def _open_local(name: str, settings: Settings, lifespan: Lifespan) -> LanguageModel:
    wanted = weights.named(name)
    path = weights.find(wanted, weights.folder(settings.data))
    if path is None:
        raise WeightsUnavailable(f"The weights of {wanted.name} are not in {weights.folder(settings.data)}.")
    require_machine()
    try:
        from tertulia.providers.models.local import LocalModel  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise WeightsUnavailable(f"A local model needs the extra `local`: {error}.") from None
    model = LocalModel(path, settings.turn.stall_s)
    lifespan.starts.append((model, model.start))
    lifespan.closes.append(model.aclose)
    return model


def _open_vendor(vendor: str, name: str, settings: Settings, lifespan: Lifespan) -> LanguageModel:
    if not name:
        raise ProviderError(f"There is no model {vendor!r}; there are {', '.join(_OPENERS)} and VENDOR:NAME.")
    try:
        from tertulia.providers.models.vendor import open_vendor  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ProviderError(f"The model '{vendor}:{name}' needs the extra `vendors`: {error}.") from None
    model = open_vendor(f"{vendor}:{name}", settings.turn.stall_s)
    lifespan.closes.append(model.aclose)
    return model


_OPENERS: dict[str, Opener] = {
    "scripted": _open_scripted,
    "local": _open_local,
    "openai": _open_openai,
}

_CONFIGURED: dict[str, Callable[[Settings], bool]] = {
    "openai": lambda settings: bool(settings.openai.api_key.get_secret_value()),
    "google": lambda _settings: bool(os.environ.get("GOOGLE_API_KEY") or os.environ.get("GEMINI_API_KEY")),
}

_NAMED = re.compile(f"(?P<vendor>{'|'.join(_CONFIGURED)})[_:](?P<name>.+)")
