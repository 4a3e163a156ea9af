"""A transcriber in this process: Whisper, run by faster-whisper. Needs the extra `local`.

https://github.com/SYSTRAN/faster-whisper. Models are folders that are here: nothing goes online. Where there is no
speech, which faster-whisper's Silero finds, Whisper is not asked: it would make some up.
"""

import asyncio
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog
from faster_whisper import WhisperModel
from faster_whisper.transcribe import Segment
from numpy.typing import NDArray
from structlog.typing import FilteringBoundLogger

from tertulia.errors import TranscriptionFailed
from tertulia.providers.base import HEARING_RATE, Transcript, Word
from tertulia.providers.voices.languages import code_of

_log: FilteringBoundLogger = structlog.get_logger(__name__)

_CORES = os.cpu_count() or 1
_AT_ONCE = max(1, _CORES // 4)
"""Recordings that are heard at the same time; others wait."""
_THREADS = min(4, max(1, _CORES // _AT_ONCE - 1))
"""For one recording. A core is left to the event loop."""
_PATIENCE_S = 10.0
_PATIENCE_RATE = 2.0
"""A recording may take so many seconds, and so many for each of its own."""

_SILENCE, _LEAST = 300, 800
"""Frames of 10 ms: how much silence is encoded after speech, and how much is encoded in all, at least."""
_TOKENS, _TOKENS_RATE, _MOST_TOKENS = 20, 15, 200
"""A reading may have so many tokens, and so many for each second; nobody speaks as fast. Timestamps are some too."""
_REPETITION = 2.4
"""The ratio of compression beyond which words repeat themselves, as Whisper itself has it."""

ENGLISH = frozenset({"en"})
WORLD = frozenset(
    (
        *("af", "am", "ar", "as", "az", "ba", "be", "bg", "bn", "bo", "br", "bs", "ca", "cs", "cy", "da", "de", "el"),
        *("en", "es", "et", "eu", "fa", "fi", "fo", "fr", "gl", "gu", "ha", "he", "hi", "hr", "ht", "hu", "hy", "id"),
        *("is", "it", "ja", "ka", "kk", "km", "kn", "ko", "la", "lb", "ln", "lo", "lt", "lv", "mg", "mi", "mk", "ml"),
        *("mn", "mr", "ms", "mt", "my", "ne", "nl", "nn", "no", "oc", "pa", "pl", "ps", "pt", "ro", "ru", "sa", "sd"),
        *("si", "sk", "sl", "sn", "so", "sq", "sr", "su", "sv", "sw", "ta", "te", "tg", "th", "tk", "tl", "tr", "tt"),
        *("uk", "ur", "uz", "vi", "yi", "yo", "zh"),
    )
)
"""Whisper's languages, as ISO 639-1; beside these, two that it names otherwise."""
_OTHERS = {"haw": "haw", "jav": "jw"}


@dataclass(frozen=True, slots=True)
class Whisper:
    """A model's folder. `beam` is how many readings it keeps in mind: more are slower, and better in noise."""

    path: Path
    languages: frozenset[str]
    beam: int

    def code(self, language: str) -> str | None:
        """Name a language (ISO 639-3) as Whisper does. Return None if Whisper does not understand it."""
        others: Mapping[str, str] = _OTHERS if self.languages is WORLD else {}
        return code_of(language, self.languages) or others.get(language)


class _Ear(WhisperModel):
    """A model that encodes as much silence after a recording as it needs, and not up to the 30 seconds it was made for.

    That takes most of the time of a short message. Less than `_SILENCE` after it, or less than `_LEAST` in all, makes
    words up; whether the whole 30 seconds are encoded is the choice of each thread that hears.
    """

    choice = threading.local()

    def encode(self, features: NDArray[np.float32]) -> Any:
        if not getattr(self.choice, "is_whole", False):
            heard = np.flatnonzero(features.any(axis=0))  # what is behind is filled up with zeros
            features = features[:, : max(int(heard[-1]) + 1 + _SILENCE if heard.size else 0, _LEAST)]
        return super().encode(np.ascontiguousarray(features))


class LocalTranscriber:
    """A `Transcriber`: the first model that understands the language, loaded when it is first needed.

    `start` loads the first; one that cannot be loaded is left out.
    """

    def __init__(self, models: Sequence[Whisper]) -> None:
        self._models = [*models]
        self._loaded: dict[Whisper, WhisperModel] = {}
        self._loading = asyncio.Lock()
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="local-hearing")
        self._jobs: set[_Job] = set()

    async def start(self) -> None:
        for model in self._models[:1]:
            try:
                await self._load(model)
            except TranscriptionFailed as error:
                _log.warning("What hears speech cannot be loaded.", model=model.path.name, reason=error.reason)
                self._models.remove(model)

    async def aclose(self) -> None:
        for job in self._jobs:
            job.stopped = True
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
        self._loaded.clear()

    def hears(self, language: str) -> bool:
        return any(model.code(language) for model in self._models)

    def is_idle(self) -> bool:
        """Tell if no recording is being heard."""
        return not self._jobs

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
        for model in self._models:
            if code := model.code(language):
                job = _Job(await self._load(model), model.beam, code, ", ".join(keyterms))
                return await self._run(job, pcm)
        raise TranscriptionFailed(f"nothing hears {language}")

    async def _run(self, job: "_Job", pcm: bytes) -> Transcript:
        self._jobs.add(job)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, job.hear, pcm)
        except TranscriptionFailed:
            raise
        except Exception as error:
            raise TranscriptionFailed(f"{type(error).__name__}: {error}") from error
        finally:
            job.stopped = True
            self._jobs.discard(job)

    async def _load(self, model: Whisper) -> WhisperModel:
        async with self._loading:
            if model not in self._loaded:
                try:
                    self._loaded[model] = await asyncio.to_thread(_open, model.path)
                except Exception as error:
                    raise TranscriptionFailed(f"{type(error).__name__}: {error}") from error
            return self._loaded[model]


class _Job:
    """A recording that is heard in a thread. Set `stopped` to end that early."""

    def __init__(self, model: WhisperModel, beam: int, code: str, keyterms: str) -> None:
        self._model = model
        self._beam = beam
        self._code = code
        self._keyterms = keyterms
        self.stopped = False

    def hear(self, pcm: bytes) -> Transcript:
        """Hear a recording. Return what was said.

        Keyterms lead a reading astray where little is encoded, and one that seems to repeat itself is made once more.
        """
        wave = np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32768)
        segments = self._segments(wave, is_whole=bool(self._keyterms))
        if not self._keyterms and any(segment.compression_ratio > _REPETITION for segment in segments):
            segments = self._segments(wave, is_whole=True)
        return _transcript(segments)

    def _segments(self, wave: NDArray[np.float32], *, is_whole: bool) -> list[Segment]:
        _Ear.choice.is_whole = is_whole
        duration_s = len(wave) / HEARING_RATE
        until = time.monotonic() + _PATIENCE_S + _PATIENCE_RATE * duration_s
        segments, _ = self._model.transcribe(
            wave,
            language=self._code,
            beam_size=self._beam,
            temperature=0.0,  # a second try at another temperature takes as long again
            condition_on_previous_text=False,  # else it may repeat itself without end
            vad_filter=True,
            word_timestamps=True,
            hotwords=self._keyterms or None,
            max_new_tokens=None if is_whole else min(_MOST_TOKENS, _TOKENS + int(_TOKENS_RATE * duration_s)),
        )
        return [*self._before(until, segments)]

    def _before(self, until: float, segments: Iterable[Segment]) -> Iterable[Segment]:
        for segment in segments:
            if self.stopped or time.monotonic() > until:
                raise TranscriptionFailed("it took too long")
            yield segment


def _transcript(segments: Iterable[Segment]) -> Transcript:
    text = ""
    words: list[Word] = []
    for segment in segments:
        for word in segment.words or ():
            heard = word.word if text else word.word.lstrip()
            start = len(text) + len(heard) - len(heard.lstrip())
            text += heard
            if end := len(text.rstrip()):
                words.append(Word(start, end, 1000 * float(word.start), 1000 * float(word.end)))
    return Transcript(text.rstrip(), words)


def _open(folder: Path) -> WhisperModel:
    return _Ear(
        str(folder),
        device="cpu",
        compute_type="int8",
        cpu_threads=_THREADS,
        num_workers=_AT_ONCE,
        local_files_only=True,
    )
