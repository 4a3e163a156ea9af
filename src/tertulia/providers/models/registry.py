"""The models of a process: a tuple of vendors, and the models that the settings and version sets name.

`scripted`, `local`, `local:NAME`, `openai:NAME`, and `VENDOR:NAME` for every vendor that pydantic-ai knows.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from structlog.typing import FilteringBoundLogger

from tertulia.errors import ModelError
from tertulia.providers import weights
from tertulia.providers.base import Embedder, KeepingEmbedder, LanguageModel, ProviderError
from tertulia.providers.machine import require_machine
from tertulia.providers.models import openai_compatible, scripted
from tertulia.providers.models.base import Lifespan, Vendor
from tertulia.providers.models.fallback import FallbackModel
from tertulia.providers.models.named import NamedModels
from tertulia.providers.models.params import DIRECT, LOCAL, schema_of
from tertulia.providers.models.schema import Schema
from tertulia.providers.weights import WeightsUnavailable
from tertulia.settings import Settings

_log: FilteringBoundLogger = structlog.get_logger(__name__)


def _nothing(_name: str) -> None:
    """Know no name. Return None."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The names that version sets can prefer: those of the settings, and the schema of each name's parameters.

    `params_of` returns None for a name that the settings cannot reach.
    """

    names: Sequence[str] = ()
    params_of: Callable[[str], Schema | None] = _nothing


class Models:
    """The models of a process. `default` is what `settings.model` names: the first, and what to fall back to.

    `fast` is what `settings.model_fast` names, and decides; the same as `default` if nothing is named.
    """

    def __init__(
        self,
        default: LanguageModel,
        open_named: Callable[[str], LanguageModel | None] = lambda _name: None,
        lifespan: Lifespan | None = None,
        without: Callable[[LanguageModel], "Joined"] | None = None,
        fast: LanguageModel | None = None,
        catalogue: Catalogue = Catalogue(),
    ) -> None:
        self.catalogue = catalogue
        self.default = default
        self._fast = fast
        self._named = NamedModels(open_named)
        self._lifespan = lifespan or Lifespan()
        self._without = without

    @property
    def fast(self) -> LanguageModel:
        """The model that decides."""
        return self._fast or self.default

    def of(self, org_id: str) -> "OrganizationModels":
        """Get the models that an organization's version sets can name."""
        return OrganizationModels(self, org_id)

    def named(self, org_id: str, llm_name: str) -> LanguageModel | None:
        """Get the model that the contract calls `llm_name`. Return None if the settings cannot reach it."""
        return self._named.get(org_id, llm_name)

    def use(self, embedder: Embedder | None, keeping: KeepingEmbedder | None) -> None:
        """Have models that understand less than they say ask an embedding model, if there is one.

        `keeping` is the same one for texts of authors.
        """
        self._lifespan.embedder, self._lifespan.keeping = embedder, keeping

    async def start(self) -> None:
        """Load what takes long, off the event loop; without this the first prompt waits for that.

        A model that cannot be loaded is left out, and the log says so.

        Raises:
            ModelError: the only model cannot be loaded.
            ProviderError: none is left.
        """
        for model, start in self._lifespan.starts:
            try:
                await start()
            except ModelError as error:
                if self._without is None:
                    raise
                _log.warning("A model cannot be loaded.", reason=error.reason)
                self.default, self._fast = self._without(model)

    async def aclose(self) -> None:
        """Give back connections and memory."""
        for close in reversed(self._lifespan.closes):
            await close()


@dataclass(frozen=True, slots=True)
class OrganizationModels:
    """The models of a process as an organization sees them."""

    models: Models
    org_id: str

    @property
    def default(self) -> LanguageModel:
        """The model that answers if nothing else is asked for."""
        return self.models.default

    @property
    def fast(self) -> LanguageModel:
        """The model that decides if nothing else is asked for."""
        return self.models.fast

    def named(self, llm_name: str) -> LanguageModel | None:
        """Get the model of a name in a version set. Return None if this server cannot reach it."""
        return self.models.named(self.org_id, llm_name)


def open_models(settings: Settings) -> Models:
    """Open the models that the settings name. Return them, without those whose weights are not here: the log says so.

    Raises:
        ProviderError: a model cannot be opened, or none is left.
    """
    lifespan = Lifespan()
    opened: dict[str, LanguageModel] = {}
    for spec in dict.fromkeys([*settings.model, *settings.model_fast]):
        try:
            opened[spec] = _open(spec, settings, lifespan)
        except WeightsUnavailable as error:
            _log.warning(str(error), model=spec)

    def without(model: LanguageModel) -> Joined:
        for spec in [spec for spec, other in opened.items() if other is model]:
            del opened[spec]
        return _join_kinds(opened, settings)

    names = dict(pair.split("=", 1) for pair in settings.model_names)

    def named(name: str) -> LanguageModel | None:
        found = opened.get(names.get(name, name)) or _open_named(name, settings, lifespan)
        return found or opened.get(names.get("*", ""))

    _check_names(names, settings)
    default, fast = _join_kinds(opened, settings)
    return Models(default, named, lifespan, without, fast, _catalogue(names, settings))


Joined = tuple[LanguageModel, LanguageModel | None]
"""The model that speaks, and the one that decides if that is another."""


def _join_kinds(opened: Mapping[str, LanguageModel], settings: Settings) -> Joined:
    """Join the opened models of each kind. Return them; if no model that decides is left, the one that speaks does."""
    speaking = {spec: opened[spec] for spec in settings.model if spec in opened}
    deciding = {spec: opened[spec] for spec in settings.model_fast if spec in opened}
    return _join(speaking), _join(deciding) if deciding else None


def _catalogue(names: Mapping[str, str], settings: Settings) -> Catalogue:
    """List the names that the settings know. Return them with their parameters."""
    specs = dict.fromkeys([*settings.model, *settings.model_fast])

    def params_of(name: str) -> Schema | None:
        spec = names.get(name, name)
        found = _NAMED.fullmatch(name)
        vendor = _vendor(found["vendor"]) if found is not None else None
        if spec in specs or (vendor is not None and vendor.has_access(settings)):
            return _params(spec if spec in specs else name)
        return _params(names["*"]) if "*" in names else None

    return Catalogue([*specs, *(name for name in names if name != "*")], params_of)


def _params(spec: str) -> Schema:
    """Return the schema of a model's parameters."""
    vendor = _vendor(re.split("[:_]", spec, maxsplit=1)[0])
    return schema_of(DIRECT) if vendor is None else vendor.params


def _vendor(name: str) -> Vendor | None:
    """Find a vendor that is known by name. Return it, or None."""
    return next((vendor for vendor in VENDORS if vendor.name == name), None)


def _check_names(names: Mapping[str, str], settings: Settings) -> None:
    """Refuse a name that leads to a model which the settings do not open."""
    for name, model in names.items():
        if model not in (*settings.model, *settings.model_fast):
            raise ProviderError(f"TERTULIA_MODEL_NAMES: {name} leads to {model}, which TERTULIA_MODEL does not name.")


def _join(opened: dict[str, LanguageModel]) -> LanguageModel:
    if not opened:
        raise ProviderError("None of the models that TERTULIA_MODEL names can be used.")
    return next(iter(opened.values())) if len(opened) == 1 else FallbackModel([*opened.items()])


def _open(spec: str, settings: Settings, lifespan: Lifespan) -> LanguageModel:
    name, _, model = spec.partition(":")
    vendor = _vendor(name)
    if vendor is not None:
        return vendor.open(model, settings, lifespan)
    if not model:
        known = ", ".join(f"{vendor.name} ({vendor.help})" for vendor in VENDORS)
        raise ProviderError(f"There is no model {name!r}; there are {known} and VENDOR:NAME.")
    return _open_other(name, model, settings, lifespan)


def _open_named(llm_name: str, settings: Settings, lifespan: Lifespan) -> LanguageModel | None:
    """Open the contract's `openai_NAME` or `google_NAME`, also written with a colon. Return None without its key."""
    match = _NAMED.fullmatch(llm_name)
    if match is None:
        return None
    vendor = _vendor(match["vendor"])
    if vendor is None or not vendor.has_access(settings):
        return None
    try:
        return vendor.open(match["name"], settings, lifespan)
    except ProviderError as error:
        _log.warning(str(error), model=llm_name)
        return None


def _open_local(name: str, settings: Settings, lifespan: Lifespan) -> LanguageModel:
    wanted = weights.named(name, weights.folder(settings.data))
    path = weights.find(wanted, weights.folder(settings.data))
    if path is None:
        raise WeightsUnavailable(f"The weights of {wanted.name} are not in {weights.folder(settings.data)}.")
    require_machine()
    try:
        from tertulia.providers.models.local import LocalModel  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise WeightsUnavailable(f"A local model needs the extra `local`: {error}.") from None
    model = LocalModel(path, settings.turn.stall_s, lambda: lifespan.embedder, lambda: lifespan.keeping)
    lifespan.starts.append((model, model.start))
    lifespan.closes.append(model.aclose)
    return model


def _open_google(name: str, settings: Settings, lifespan: Lifespan) -> LanguageModel:
    return _open_other("google", name, settings, lifespan)


def _open_other(vendor: str, name: str, settings: Settings, lifespan: Lifespan) -> LanguageModel:
    """Open a model of a vendor that pydantic-ai knows."""
    try:
        from tertulia.providers.models.vendor import open_vendor  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise ProviderError(f"The model '{vendor}:{name}' needs the extra `vendors`: {error}.") from None
    return open_vendor(f"{vendor}:{name}", settings, lifespan)


VENDORS: tuple[Vendor, ...] = (
    scripted.VENDOR,
    Vendor("local", _open_local, "local", "weights run in this process", params=schema_of(LOCAL)),
    openai_compatible.VENDOR,
    Vendor(
        "google",
        _open_google,
        "vendors",
        "Gemini",
        lambda _settings: bool(os.environ.get("GOOGLE_API_KEY") or os.environ.get("GEMINI_API_KEY")),
        schema_of(DIRECT),
    ),
)
"""Those that are known by name; pydantic-ai knows more."""

_NAMED = re.compile("(?P<vendor>[a-z]+)[_:](?P<name>.+)")
