"""Speech told from silence, hum and noise: the detectors of a process, and the question if there is speech at all."""

import array
import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog
from structlog.typing import FilteringBoundLogger

from tertulia.audio.pcm import SAMPLE_BYTES
from tertulia.providers.base import HEARING_RATE, Detector
from tertulia.providers.voices.scripted import ScriptedDetector

if TYPE_CHECKING:  # it needs an extra
    from tertulia.providers.voices.local.silero import Silero

SPEECH_FROM = 0.5
"""A frame at least so likely is speech."""

SHORTEST_MS = 90
"""Speech that is shorter is a click or a cough."""

QUIET_PEAK = 3000
"""A recording whose loudest sample is below this is made louder before it is searched: microphones can be weak."""

SILENT_PEAK = 30
"""A recording whose loudest sample is below this is silent, whatever a detector would find in it."""

_SLICE_BYTES = HEARING_RATE * SAMPLE_BYTES

_log: FilteringBoundLogger = structlog.get_logger(__name__)


class SpeechDetectors:
    """The detectors of a process: Silero's if the extra `voice` can be used, else those that go by loudness."""

    def __init__(self) -> None:
        self._silero: Silero | None = None
        self._make: Callable[[], Detector] | None = None

    def open(self) -> None:
        """Load Silero, which takes 40 ms; the log says if that fails."""
        if self._make is None:
            self._make = self._load()

    def close(self) -> None:
        """Give back the memory of the detectors that nobody uses."""
        if self._silero is not None:
            self._silero.close()
        self._silero = self._make = None

    def detector(self) -> Detector:
        """Make a detector for one stream of sound, and return it."""
        self.open()
        return (self._make or ScriptedDetector)()

    def _load(self) -> Callable[[], Detector]:
        try:
            from tertulia.providers.voices.local.silero import Silero  # noqa: PLC0415 - an optional extra

            self._silero = Silero()
        except (ImportError, OSError, RuntimeError) as error:
            _log.warning(f"Speech is told from noise by its loudness alone: the extra `voice` cannot be used: {error}.")
            return ScriptedDetector
        return self._silero.detector


def has_speech(pcm: bytes, detector: Detector) -> bool:
    """Search a recording at HEARING_RATE for speech, up to the first of it. Return if there is any; blocks."""
    samples = _loud_enough(pcm)
    if samples is None:
        return False
    wanted = math.ceil(SHORTEST_MS / detector.frame_ms)
    silence = bytes(HEARING_RATE * detector.frame_ms // 1000 * SAMPLE_BYTES)  # completes the last frame
    run = 0
    for start in range(0, len(samples), _SLICE_BYTES):
        piece = samples[start : start + _SLICE_BYTES]
        for likelihood in detector.feed(piece if start + _SLICE_BYTES < len(samples) else piece + silence):
            run = run + 1 if likelihood >= SPEECH_FROM else 0
            if run == wanted:
                return True
    return False


def _loud_enough(pcm: bytes) -> bytes | None:
    """Make a quiet recording louder. Return it, or None if it is silent."""
    samples = array.array("h", pcm[: len(pcm) // SAMPLE_BYTES * SAMPLE_BYTES])
    if sys.byteorder == "big":
        samples.byteswap()
    peak = max(max(samples, default=0), -min(samples, default=0))
    if peak < SILENT_PEAK:
        return None
    if peak >= QUIET_PEAK:
        return pcm
    louder = array.array("h", [sample * QUIET_PEAK // peak for sample in samples])
    if sys.byteorder == "big":
        louder.byteswap()
    return louder.tobytes()
