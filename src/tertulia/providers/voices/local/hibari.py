"""An English voice in this process: hibari, run by onnxruntime. Needs the extra `local`.

https://github.com/MMWilliams/hibari (Apache-2.0). The package holds the voice `heart` and all that it needs; its other
voices would be downloaded, so its own loader is not used. Nothing here goes online.
"""

import asyncio
import difflib
import json
import os
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

import hibari
import numpy as np
from hibari import dsp
from hibari.g2p import G2P
from hibari.g2p.normalize import normalize
from onnxruntime import InferenceSession, SessionOptions

from tertulia.audio.pcm import duration_ms
from tertulia.errors import VoiceFailed
from tertulia.providers.base import Sound, Word
from tertulia.providers.voices.passages import SILENCE, passages

RATE = hibari.SAMPLE_RATE

Result = TypeVar("Result")
Args = TypeVarTuple("Args")

_ASSETS = Path(hibari.__file__).parent / "assets"
_ENDS = "/CumSum_output_0"
"""The tensor of the model's graph that says at which frame each phoneme ends."""
_FRAME_MS = 25.0
_LEAD_MS = 150.0
"""The rest of the silence before the first phoneme; its sound begins up to 100 ms before its frame."""
_LONGEST_WORD = 40
"""Characters without a space: its time to read them grows with their cube."""
_MOST_PHONEMES = 400
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
        before_ms = 0.0
        told = 0  # characters whose words have been told
        for offset, passage in passages(text):
            for spoken in await self._run(heart.read, passage, offset):
                pcm, words = await self._run(heart.say, spoken, before_ms)
                yield Sound(pcm, [word for word in words if word.start >= told])
                before_ms += duration_ms(pcm, RATE)
                told = max((told, *(word.end for word in words)))
        if not before_ms:
            yield SILENCE

    async def _loaded(self) -> "_Heart":
        async with self._loading:
            self._heart = self._heart or await self._run(_Heart)
            return self._heart

    async def _run(self, call: Callable[[Unpack[Args]], Result], *args: *Args) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)
        except Exception as error:
            raise VoiceFailed(f"{type(error).__name__}: {error}") from error


Place = tuple[int, int]
"""The place of a word in the text: its first character, and the one after its last."""


@dataclass(frozen=True, slots=True)
class _Spoken:
    """A stretch said at once: phonemes, and for each of them the word that it belongs to; pauses belong to none."""

    phonemes: Sequence[int]
    places: Sequence[Place | None]


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

    def read(self, text: str, offset: int) -> Sequence[_Spoken]:
        """A stretch of a text that begins at a character of it; empty where nothing of it can be read."""
        matches = [*re.finditer(rf"\S{{1,{_LONGEST_WORD}}}", text)]
        phonemes, owners = self._read_what_it_can([match[0] for match in matches])
        places = [(offset + match.start(), offset + match.end()) for match in matches]
        if all(owner < 0 for owner in owners):
            return ()
        return [*_cut(_Spoken(phonemes, [places[owner] if owner >= 0 else None for owner in owners]))]

    def say(self, spoken: _Spoken, before_ms: float) -> tuple[bytes, Sequence[Word]]:
        """Its sound, and its words; so much sounded before."""
        inputs = {"ids": np.asarray([[0, *spoken.phonemes, 0]], np.int64), "speed": np.ones(1, np.float32)}
        *spectrum, ends = self._session.run(None, inputs)
        wave = dsp.synth(*(part[0] for part in spectrum), rng=np.random.default_rng(0))
        ends_ms: list[float] = (ends.reshape(-1) * _FRAME_MS).tolist()
        skipped_ms = max(0.0, ends_ms[0] - _LEAD_MS)
        pcm = (np.clip(wave, -1.0, 1.0) * 32767).astype("<i2")[round(skipped_ms * RATE / 1000) :]
        return pcm.tobytes(), _timed(spoken.places, [before_ms + ms - skipped_ms for ms in ends_ms])

    def _read_what_it_can(self, words: Sequence[str]) -> tuple[list[int], list[int]]:
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

    def _read(self, words: Sequence[str], readable: Sequence[str]) -> tuple[list[int], list[int]]:
        """Phonemes, and for each of them the number of its word, or -1."""
        readings = list(self._readings(" ".join(readable)))
        phonemes: list[int] = []
        owners: list[int] = []
        for owner, (_, reading) in zip(_matched(words, [written for written, _ in readings]), readings, strict=True):
            for sign in reading:
                if (phoneme := self._ids.get(sign)) is not None:
                    phonemes.append(phoneme)
                    owners.append(owner if sign.isalpha() else -1)
        return phonemes, owners

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


def _cut(spoken: _Spoken) -> Iterator[_Spoken]:
    """Long numbers have many phonemes: no more at once than the model was made for, cut between words."""
    at = 0
    while len(spoken.phonemes) - at > _MOST_PHONEMES:
        last = at + _MOST_PHONEMES
        end = next((end for end in range(last, at, -1) if spoken.places[end] is None), last)
        yield _Spoken(spoken.phonemes[at:end], spoken.places[at:end])
        at = end
    yield _Spoken(spoken.phonemes[at:], spoken.places[at:])


def _timed(places: Sequence[Place | None], ends_ms: Sequence[float]) -> Sequence[Word]:
    """The words, in order; `ends_ms` has one more before the first phoneme."""
    times: dict[Place, tuple[float, float]] = {}
    for at, place in enumerate(places):
        if place is not None:
            begins_ms = times[place][0] if place in times else ends_ms[at]
            times[place] = begins_ms, ends_ms[at + 1]
    return [Word(*place, *times[place]) for place in sorted(times)]


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
