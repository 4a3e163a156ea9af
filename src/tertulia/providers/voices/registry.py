"""The vendors of voices and transcribers, and the opening of those that the setting `voice` names."""

import structlog
from structlog.typing import FilteringBoundLogger

from tertulia.providers.base import ProviderError
from tertulia.providers.voices import cartesia, openai, scripted
from tertulia.providers.voices.base import Provider
from tertulia.providers.voices.fallback import Voices, instead
from tertulia.providers.voices.local import vendor as local
from tertulia.providers.weights import WeightsUnavailable
from tertulia.settings import Settings

OFF = "off"
"""The setting's value for no voice at all."""

VENDORS = (scripted.VENDOR, local.VENDOR, openai.VENDOR, cartesia.VENDOR)

_log: FilteringBoundLogger = structlog.get_logger(__name__)


def open_voices(settings: Settings) -> Voices:
    """Open the voices that the settings name. Return them as one. Raises ProviderError if one cannot be opened.

    Weights and extras that are not here are no reason to stop: the log says so, and the others are used, in the end
    the scripted voice.
    """
    if settings.voice == (OFF,):
        return Voices([])
    opened: list[tuple[str, Provider]] = []
    for spec in settings.voice:
        try:
            opened.append((spec, _open(spec, settings)))
        except WeightsUnavailable as error:
            _log.warning(str(error), voice=spec)
    return Voices(opened or instead(), settings.turn.stall_s, settings.speech.voice_ids)


def _open(spec: str, settings: Settings) -> Provider:
    name, _, model = spec.partition(":")
    vendor = next((vendor for vendor in VENDORS if vendor.name == name), None)
    if vendor is None or (model and not vendor.has_models):
        names = ", ".join(vendor.name for vendor in VENDORS)
        raise ProviderError(f"There is no voice {spec!r}; there are {names}, and {OFF} alone for none.")
    try:
        return vendor.open(model, settings)
    except ImportError as error:
        extras = " and ".join(f"`{extra}`" for extra in vendor.needs)
        raise WeightsUnavailable(f"The voice {name} needs the extras {extras}: {error}.") from None
