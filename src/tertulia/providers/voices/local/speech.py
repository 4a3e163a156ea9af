"""Speech out and in without a cloud: the local voices, and the local transcriber if its weights are here."""

import structlog
from structlog.typing import FilteringBoundLogger

from tertulia.providers import weights
from tertulia.providers.voices.base import Provider
from tertulia.providers.voices.local.hearing import ENGLISH, WORLD, LocalTranscriber, Whisper
from tertulia.providers.voices.local.voice import open_voice
from tertulia.settings import Settings

_log: FilteringBoundLogger = structlog.get_logger(__name__)

# English has the small model: as good at it as the larger one of all languages, in half the time.
_HEARING = (
    (weights.WHISPER_TINY_EN, ENGLISH, 1),
    (weights.WHISPER_BASE, WORLD, 5),
)


def open_local(settings: Settings) -> Provider:
    """Open the voices of every language that is installed. Return them, with a transcriber if its weights are here.

    The log names weights that are not here: less is heard then.
    """
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

    def hears_ahead() -> bool:
        return transcriber is not None and transcriber.is_idle()

    return Provider(voice, transcriber, hears_ahead=hears_ahead, start=start, aclose=aclose)


def open_transcriber(settings: Settings) -> LocalTranscriber | None:
    """Open the models whose weights are here. Return their transcriber, or None if there are none."""
    folder = weights.folder(settings.data)
    models: list[Whisper] = []
    for wanted, languages, beam in _HEARING:
        if path := weights.find(wanted, folder):
            models.append(Whisper(path, languages, beam))
        else:
            _log.warning(f"The weights of {wanted.name} are not in {folder}.")
    return LocalTranscriber(models) if models else None
