"""An English voice in this process: hibari, run by onnxruntime. Needs the extra `local`.

https://github.com/MMWilliams/hibari (Apache-2.0). The package holds the voice `heart` and all that it needs; its other
voices would be downloaded, so its own loader is not used. Nothing here goes online.
"""

import asyncio
import difflib
import json
import os
import re
from collections.abc import AsyncGenerator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import hibari
import numpy as np
from hibari import dsp
from hibari.g2p import G2P
from hibari.g2p.normalize import normalize
from onnxruntime import InferenceSession, SessionOptions

from tertulia.errors import VoiceFailed
from tertulia.providers.base import Sound, Word
from tertulia.providers.passages import SILENCE, passages

RATE = hibari.SAMPLE_RATE

_ASSETS = Path(hibari.__file__).parent / "assets"
_ENDS = "/CumSum_output_0"
"""The tensor of the model's graph that says at which frame each phoneme ends."""
_FRAME_MS = 25.0
_LEAD_MS = 150.0
"""What is left of the silence before the first phoneme; its sound begins up to 100 ms before its frame."""
_LONGEST_WORD = 40
"""Characters without a space: its time to read them grows with their cube."""
_THREADS = min(4, os.cpu_count() or 1)


class HibariVoice:
    """The voice `heart`, loaded by `start` or by the first sentence."""

    rate = RATE

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="hibari")
        self._loading = asyncio.Lock()
        self._heart: _Heart | None = None

    async def start(self) -> None:
        await self._loaded()

    async def aclose(self) -> None:
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)

    async def speak(self, text: str) -> AsyncGenerator[Sound]:
        """As `Voice.speak`. What it cannot read is left out; a text of nothing else is a short silence."""
        heart = await self._loaded()
        loop = asyncio.get_running_loop()
        before_ms = 0.0
        for offset, passage in passages(text):
            try:
                sound, ms = await loop.run_in_executor(self._threads, heart.say, passage, offset, before_ms)
            except Exception as error:
                raise VoiceFailed(f"{type(error).__name__}: {error}") from error
            if sound.pcm:
                yield sound
            before_ms += ms
        if not before_ms:
            yield SILENCE

    async def _loaded(self) -> "_Heart":
        async with self._loading:
            try:
                heart = self._heart or await asyncio.get_running_loop().run_in_executor(self._threads, _Heart)
            except Exception as error:
                raise VoiceFailed(f"{type(error).__name__}: {error}") from error
            self._heart = heart
            return heart


@dataclass(frozen=True, slots=True)
class _Spoken:
    """What is said of a text: phonemes, and for each of them the word of the text that it belongs to, or -1."""

    phonemes: Sequence[int]
    words: Sequence[int]


class _Heart:
    """The model and the dictionary. Blocks; several threads may use it."""

    def __init__(self) -> None:
        options = SessionOptions()
        # A sentence at a time on one core each: more threads for one sentence only wait for each other.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        model = with_output((_ASSETS / "hibari.onnx").read_bytes(), _ENDS)
        self._session = InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._ids: dict[str, int] = json.loads((_ASSETS / "vocab.json").read_text(encoding="utf-8"))
        self._g2p = G2P()
        self._g2p("Tertulia")  # loads what reads unknown words

    def say(self, text: str, offset: int, before_ms: float) -> tuple[Sound, float]:
        """A stretch of a text that begins at a character and at a time of it, and how long it sounds."""
        places = [match.span() for match in re.finditer(rf"\S{{1,{_LONGEST_WORD}}}", text)]
        spoken = self._spoken([text[start:end] for start, end in places])
        if not spoken.phonemes:
            return Sound(b""), 0.0
        inputs = {"ids": np.asarray([[0, *spoken.phonemes, 0]], np.int64), "speed": np.ones(1, np.float32)}
        *spectrum, ends = self._session.run(None, inputs)
        wave = dsp.synth(*(part[0] for part in spectrum), rng=np.random.default_rng(0))
        ends_ms: list[float] = (ends.reshape(-1) * _FRAME_MS).tolist()
        skipped_ms = max(0.0, ends_ms[0] - _LEAD_MS)
        pcm = (np.clip(wave, -1.0, 1.0) * 32767).astype("<i2")[round(skipped_ms * RATE / 1000) :]
        words = [
            Word(offset + places[at][0], offset + places[at][1], before_ms + begins, before_ms + end)
            for at, begins, end in _times(spoken.words, [ms - skipped_ms for ms in ends_ms])
        ]
        return Sound(pcm.tobytes(), words), 1000 * len(pcm) / RATE

    def _spoken(self, words: Sequence[str]) -> _Spoken:
        try:
            return self._read(words, words)
        except Exception:  # noqa: BLE001 - it stumbles over a few odd characters: leave out their words alone
            return self._read(words, [*filter(self._can_read, words)])

    def _can_read(self, word: str) -> bool:
        try:
            self._g2p(word)
        except Exception:  # noqa: BLE001 - see above
            return False
        return True

    def _read(self, words: Sequence[str], readable: Sequence[str]) -> _Spoken:
        readings = list(self._readings(" ".join(readable)))
        owners = _matched(words, [written for written, _ in readings])
        phonemes: list[int] = []
        said: list[int] = []
        for owner, (_, reading) in zip(owners, readings, strict=True):
            for sign in reading:
                if (phoneme := self._ids.get(sign)) is not None:
                    phonemes.append(phoneme)
                    said.append(owner if sign.isalpha() else -1)
        return _Spoken(phonemes, said) if any(word >= 0 for word in said) else _Spoken((), ())

    def _readings(self, text: str) -> Iterator[tuple[str, str]]:
        """The words that are read, numbers and abbreviations spelt out, each with its phonemes."""
        written = reading = ""
        for token in self._g2p.phonemize_tokens(self._g2p.tokenize(normalize(text))):
            written += token.text
            reading += (token.phonemes or "") + (" " if token.whitespace else "")
            if token.whitespace:
                yield written, reading
                written = reading = ""
        yield written, reading


def _matched(words: Sequence[str], readings: Sequence[str]) -> list[int]:
    """For each word that is read, which word of the text it is read for; -1 where there is none.

    Most are the same. Between those, as many words of the text as there are share what is read for them.
    """
    matcher = difflib.SequenceMatcher(None, [*map(_bare, words)], [*map(_bare, readings)], autojunk=False)
    owners = [-1] * len(readings)
    for _, begin, end, first, last in matcher.get_opcodes():
        for at in range(first, last):
            owners[at] = begin + (at - first) * (end - begin) // (last - first) if end > begin else begin - 1
    return owners


def _bare(word: str) -> str:
    return re.sub(r"\W", "", word).casefold()


def _times(owners: Sequence[int], ends_ms: Sequence[float]) -> Iterator[tuple[int, float, float]]:
    """Each word that is spoken, when it begins and when it ends; `ends_ms` has one more before its first phoneme."""
    begins: dict[int, float] = {}
    ends: dict[int, float] = {}
    for at, owner in enumerate(owners):
        if owner >= 0:
            begins.setdefault(owner, ends_ms[at])
            ends[owner] = ends_ms[at + 1]
    return ((owner, begins[owner], ends[owner]) for owner in sorted(begins))


def with_output(model: bytes, tensor: str) -> bytes:
    """An ONNX model that gives out a tensor of its graph too, as its last output.

    Of a message that is there twice, Protocol Buffers join the fields: so a second graph (field 7 of a model) with one
    output (field 12 of a graph) that has a name (field 1) is that output of the first.
    https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
    """
    return model + _field(7, _field(12, _field(1, tensor.encode())))


def _field(number: int, content: bytes) -> bytes:
    """A field of bytes, shorter than 128."""
    return bytes([number << 3 | 2, len(content)]) + content
