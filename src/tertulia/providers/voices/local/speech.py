"""Speech out and in without a cloud: opens the local voices, and what hears speech where its weights are here."""

from collections.abc import Callable

import structlog
from structlog.typing import FilteringBoundLogger

from tertulia.providers import weights
from tertulia.providers.base import Detector
from tertulia.providers.voices.local.hearing import ENGLISH, WORLD, LocalTranscriber, Whisper
from tertulia.providers.voices.local.voice import open_voice
from tertulia.providers.voices.registry import Provider
from tertulia.settings import Settings

_log: FilteringBoundLogger = structlog.get_logger(__name__)

# English has the small model: as good at it as the larger one of all languages, in half the time.
_HEARING = (
    (weights.WHISPER_TINY_EN, ENGLISH, 1),
    (weights.WHISPER_BASE, WORLD, 5),
)


def open_local(settings: Settings, detector: Callable[[], Detector]) -> Provider:
    """With every language that is installed. Weights that are not here are said in the log: then less is heard."""
    voice = open_voice()
    transcriber = open_transcriber(settings)

    async def start() -> None:
        await voice.start()
        if transcriber is not None:
            await transcriber.start()

    async def aclose() -> None:
        await voice.aclose()
        if transcriber is not None:
            await transcriber.aclose()

    return Provider(voice, transcriber, detector, start, aclose)


def open_transcriber(settings: Settings) -> LocalTranscriber | None:
    """With those models whose weights are here; None without any."""
    folder = weights.folder(settings.data)
    models: list[Whisper] = []
    for wanted, languages, beam in _HEARING:
        if path := weights.find(wanted, folder):
            models.append(Whisper(path, languages, beam))
        else:
            _log.warning(f"The weights of {wanted.name} are not in {folder}.")
    return LocalTranscriber(models) if models else None
