"""A voice that whistles its text, the transcriber that reads it, and a detector: exact, and without any extra.

Each byte of the text (UTF-8) is two tones of `TONE_MS`, high half first, each of one of sixteen frequencies; a tone of
another frequency comes before the first, a pause after the last. Every frequency is a multiple of 100 Hz: tones begin
and end at zero, and in the 10 ms that the transcriber looks at they are orthogonal. That survives MP3, other rates, and
other loudness.
"""

import array
import asyncio
import math
import re
import struct
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from operator import mul

from tertulia import languages
from tertulia.audio.pcm import RATE
from tertulia.errors import VoiceFailed
from tertulia.providers import DEFAULT_VOICE
from tertulia.providers.base import HEARING_RATE, Sound, Transcript, VoiceInfo, Word
from tertulia.providers.voices.base import Provider, Vendor

TONE_MS = 20
PAUSE_MS = 60
"""Silence after each text."""

_TONES_HZ = tuple(500 + 200 * number for number in range(17))
_MARK = 16  # of _TONES_HZ: the tone before a text
_LOUDNESS = {DEFAULT_VOICE: 0.5, "tone": 0.5, "tone-soft": 0.25}
_VOICES = (VoiceInfo("tone", "Tone"), VoiceInfo("tone-soft", "Soft tone"))

_STEP = 2  # of the samples that are heard, every second is enough: no tone is above 4 kHz
_FRAME = HEARING_RATE // 1000 * 2  # samples in which loudness is measured
_TONE = HEARING_RATE // 1000 * TONE_MS
_LOOK = HEARING_RATE // 1000 * 10  # samples in the middle of a tone that are looked at
_QUIET = 200  # root mean square of what counts as silence
_LOUD_SHARE = 0.25  # of the loudest frame
_GAP = 15  # quiet frames that end a text: half of a pause
_PURE = 0.5  # share of the power that a tone has in its frequency
_WAVES = [
    [[wave(2 * math.pi * hertz * n / HEARING_RATE) for n in range(0, _LOOK, _STEP)] for wave in (math.cos, math.sin)]
    for hertz in _TONES_HZ
]


class ScriptedVoice:
    """A voice with exact times. `delay_ms` passes before each piece; it fails in place of piece number `fail_after`,
    counted from 0.
    """

    rate = RATE

    def __init__(self, delay_ms: float = 0, fail_after: int | None = None) -> None:
        self._delay_ms = delay_ms
        self._fail_after = fail_after

    def speaks(self, language: str) -> bool:
        return language in _languages()

    async def voices(self) -> Sequence[VoiceInfo]:
        return _VOICES

    async def knows(self, voice_id: str) -> bool:
        return voice_id in _LOUDNESS

    async def speak(self, text: str, voice_id: str, language: str) -> AsyncGenerator[Sound]:
        """A piece for each word, and the silence around them."""
        if voice_id not in _LOUDNESS or not self.speaks(language):
            raise VoiceFailed(f"there is no voice {voice_id} for {language}")
        for number, piece in enumerate(_pieces(text, _LOUDNESS[voice_id])):
            if number == self._fail_after:
                raise VoiceFailed("it was told to fail")
            if self._delay_ms:
                await asyncio.sleep(self._delay_ms / 1000)
            yield piece


class ScriptedTranscriber:
    """Reads back what ScriptedVoice said. Other sound is a text that says how long it is, and silence is empty."""

    def hears(self, language: str) -> bool:
        return language in _languages()

    async def transcribe(self, pcm: bytes, language: str, keyterms: Sequence[str]) -> Transcript:
        return await asyncio.to_thread(_read, pcm)


class ScriptedDetector:
    """Takes whatever is loud for speech."""

    frame_ms = 30

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, pcm: bytes) -> Sequence[float]:
        size = HEARING_RATE // 1000 * self.frame_ms * 2
        pcm = self._rest + pcm
        whole = len(pcm) // size * size
        self._rest = pcm[whole:]
        return [float(_loudness(_samples(pcm[start : start + size])) > _QUIET) for start in range(0, whole, size)]


# --- Speaking --------------------------------------------------------------------------------------------------------


def _pieces(text: str, loudness: float) -> Iterator[Sound]:
    tones = _tones(loudness)
    begins_ms = float(TONE_MS)
    starts = [match.start() for match in re.finditer(r"\S+", text)]
    yield Sound(tones[_MARK])
    for start, end in pairwise([0, *starts[1:], len(text)]):
        spoken = text[start:end]
        word = spoken.strip()
        first = start + len(spoken) - len(spoken.lstrip())
        sounds = begins_ms + _bytes_ms(text[start:first])
        words = [Word(first, first + len(word), sounds, sounds + _bytes_ms(word))] if word else []
        yield Sound(b"".join(tones[half] for byte in _bytes(spoken) for half in (byte >> 4, byte & 15)), words)
        begins_ms += _bytes_ms(spoken)
    yield Sound(bytes(RATE // 1000 * PAUSE_MS * 2))


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")


def _bytes_ms(text: str) -> float:
    return len(_bytes(text)) * 2 * TONE_MS


@cache
def _tones(loudness: float) -> Sequence[bytes]:
    """The PCM of each tone."""
    count = RATE // 1000 * TONE_MS
    return [
        struct.pack(
            f"<{count}h", *(round(loudness * 32767 * math.sin(2 * math.pi * f * n / RATE)) for n in range(count))
        )
        for f in _TONES_HZ
    ]


@cache
def _languages() -> frozenset[str]:
    """Those with an ISO 639-1 code, by their ISO 639-3 codes."""
    return languages.with_short_code()


# --- Hearing ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Run:
    """A stretch of sound between two pauses: samples."""

    start: int
    end: int


def _read(pcm: bytes) -> Transcript:
    samples = _samples(pcm)
    runs = list(_runs(samples))
    text = ""
    words: tuple[Word, ...] = ()
    for run in runs:
        spoken = _text(samples, run)
        if text and spoken and not text[-1].isspace() and not spoken[0].isspace():
            text += " "
        words += tuple(_words(spoken, len(text), run.start / HEARING_RATE * 1000 + TONE_MS))
        text += spoken
    if runs and not text:
        return Transcript(_describe(sum(run.end - run.start for run in runs)))
    return Transcript(text, words)


def _describe(samples: int) -> str:
    seconds = max(1, round(samples / HEARING_RATE))
    return f"({seconds} seconds of sound)" if seconds > 1 else "(1 second of sound)"


def _words(text: str, at: int, begins_ms: float) -> Iterator[Word]:
    for match in re.finditer(r"\S+", text):
        sounds = begins_ms + _bytes_ms(text[: match.start()])
        yield Word(at + match.start(), at + match.end(), sounds, sounds + _bytes_ms(match[0]))


def _samples(pcm: bytes) -> Sequence[int]:
    samples = array.array("h", pcm[: len(pcm) // 2 * 2])
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _loudness(samples: Sequence[float]) -> float:
    """The root mean square."""
    return math.sqrt(sum(map(mul, samples, samples)) / len(samples))


def _runs(samples: Sequence[int]) -> Iterator[_Run]:
    """The stretches of sound, exact to a frame."""
    frames = [_loudness(samples[start : start + _FRAME]) for start in range(0, len(samples) - _FRAME + 1, _FRAME)]
    threshold = max(_QUIET, _LOUD_SHARE * max(frames, default=0))
    loud = [number for number, loudness in enumerate(frames) if loudness > threshold]
    begins = loud[:1]
    for before, after in pairwise(loud):
        if after - before > _GAP:
            yield _Run(begins.pop() * _FRAME, (before + 1) * _FRAME)
            begins.append(after)
    if begins:
        yield _Run(begins.pop() * _FRAME, (loud[-1] + 1) * _FRAME)


def _text(samples: Sequence[int], run: _Run) -> str:
    """Read a run of tones. Return its text, empty if it is another sound."""
    count = (run.end - run.start + _TONE // 4) // _TONE
    middles = (run.start + number * _TONE + (_TONE - _LOOK) // 2 for number in range(count))
    looks = [samples[start : start + _LOOK : _STEP] for start in middles]
    tones = [_tone(look) for look in looks if len(look) == _LOOK // _STEP]
    if not tones or tones[0] != _MARK or None in tones or _MARK in tones[1:]:
        return ""
    halves = [tone for tone in tones[1:] if tone is not None]
    return bytes(high << 4 | low for high, low in zip(halves[::2], halves[1::2], strict=False)).decode(errors="replace")


def _tone(look: Sequence[int]) -> int | None:
    """Which of the frequencies it is; None where it is none."""
    powers = [sum(map(mul, look, cos)) ** 2 + sum(map(mul, look, sin)) ** 2 for cos, sin in _WAVES]
    best = max(powers)
    pure = best > _PURE * sum(map(mul, look, look)) * len(look) / 2
    return powers.index(best) if pure else None


# --- Opening ---------------------------------------------------------------------------------------------------------


def scripted_provider() -> Provider:
    """Open the scripted voice, transcriber and detector. Return them."""
    return Provider(ScriptedVoice(), ScriptedTranscriber(), ScriptedDetector, hears_ahead=lambda: True)


VENDOR = Vendor("scripted", lambda _model, _settings: scripted_provider(), help="Whistles; for tests and first steps.")
