"""Hearing speech in this process: Whisper itself, over what the local voices say."""

import asyncio
import re
import socket
import statistics
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from faster_whisper import WhisperModel
from numpy.typing import NDArray
from structlog.testing import capture_logs

from tertulia.audio.resample import Resampler
from tertulia.errors import TranscriptionFailed
from tertulia.providers import DEFAULT_VOICE
from tertulia.providers.base import HEARING_RATE, Word
from tertulia.providers.voices.local import hearing
from tertulia.providers.voices.local.hearing import ENGLISH, WORLD, LocalTranscriber, Whisper
from tertulia.providers.voices.local.voice import LocalVoice, open_voice
from tertulia.providers.weights import WHISPER_BASE, WHISPER_TINY_EN, Weights

pytestmark = pytest.mark.asyncio(loop_scope="module")

GetWeights = Callable[[Weights], Path]

SENTENCES = (
    "The library opens early in the morning.",
    "Could you tell me how to reset my password?",
    "My flight was delayed because of the weather, so I missed the meeting.",
    "She sells fresh bread and vegetables at the market every Saturday.",
    "Thank you very much, that was exactly what I needed.",
)
OTHERS = {
    "deu": "Guten Morgen, wie kann ich Ihnen helfen?",
    "por": "Bom dia, como posso ajudar?",
    "spa": "Muchas gracias por su paciencia.",
}
"""Whisper's small models understand espeak-ng's robot in part; these they do."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def voice() -> AsyncIterator[LocalVoice]:
    opened = open_voice()
    yield opened
    await opened.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def english(weights_of: GetWeights) -> AsyncIterator[LocalTranscriber]:
    opened = LocalTranscriber([Whisper(weights_of(WHISPER_TINY_EN), ENGLISH, 1)])
    await opened.start()
    yield opened
    await opened.aclose()


async def recorded(voice: LocalVoice, text: str, language: str = "eng") -> tuple[bytes, list[Word]]:
    """Have a voice say a text. Return its sound, as it is heard, and the times of its words."""
    resampler = Resampler(voice.rate, HEARING_RATE)
    pcm = b""
    words: list[Word] = []
    async for sound in voice.speak(text, DEFAULT_VOICE, language):
        pcm += resampler.feed(sound.pcm)
        words += sound.words
    return pcm + resampler.finish(), words


def bare(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold().replace("'", ""))


def errors(said: Sequence[str], heard: Sequence[str]) -> int:
    """Words that were replaced, left out or added."""
    row = list(range(len(heard) + 1))
    for at, word in enumerate(said, 1):
        before, row[0] = row[0], at
        for to, other in enumerate(heard, 1):
            before, row[to] = row[to], min(row[to] + 1, row[to - 1] + 1, before + (word != other))
    return row[-1]


async def test_what_the_english_voice_says_is_understood_with_the_times_of_its_words(
    voice: LocalVoice, english: LocalTranscriber
):
    wrong = 0
    early_ms: list[float] = []
    for text in SENTENCES:
        pcm, words = await recorded(voice, text)
        heard = await english.transcribe(pcm, "eng", ())
        wrong += errors(bare(text), bare(heard.text))
        assert [heard.text[word.start : word.end] for word in heard.words] == heard.text.split()
        assert all(type(ms) is float for word in heard.words for ms in (word.begins_ms, word.ends_ms))
        if len(words) == len(heard.words):
            early_ms += [said.begins_ms - other.begins_ms for said, other in zip(words, heard.words, strict=True)]
    total = sum(len(bare(text)) for text in SENTENCES)
    assert wrong / total <= 0.15
    assert len(early_ms) > total / 2
    assert statistics.median(map(abs, early_ms)) <= 120


async def test_other_languages_are_understood_too(voice: LocalVoice, weights_of: GetWeights):
    world = LocalTranscriber([Whisper(weights_of(WHISPER_BASE), WORLD, 5)])
    wrong = 0
    for language, text in OTHERS.items():
        pcm, _ = await recorded(voice, text, language)
        wrong += errors(bare(text), bare((await world.transcribe(pcm, language, ())).text))
    await world.aclose()
    assert wrong / sum(len(bare(text)) for text in OTHERS.values()) <= 0.15


def tone() -> np.ndarray:
    return 8000 * np.sin(np.arange(2 * HEARING_RATE) * 2 * np.pi * 440 / HEARING_RATE)


@pytest.mark.parametrize(
    "sound",
    [np.zeros(0), np.zeros(2 * HEARING_RATE), np.random.default_rng(1).standard_normal(2 * HEARING_RATE) * 500, tone()],
    ids=["nothing", "silence", "noise", "tone"],
)
async def test_where_nobody_speaks_nothing_is_heard(english: LocalTranscriber, sound: np.ndarray):
    heard = await english.transcribe(sound.astype("<i2").tobytes(), "eng", ())
    assert heard.text == ""
    assert not heard.words


async def test_silence_before_speech_is_counted(voice: LocalVoice, english: LocalTranscriber):
    pcm, words = await recorded(voice, SENTENCES[1])
    heard = await english.transcribe(bytes(2 * 5 * HEARING_RATE) + pcm, "eng", ())
    assert bare(heard.text) == bare(SENTENCES[1])
    assert heard.words[-1].ends_ms == pytest.approx(5000 + words[-1].ends_ms, abs=500)


async def test_keyterms_help_with_names_that_nobody_knows(voice: LocalVoice, english: LocalTranscriber):
    pcm, _ = await recorded(voice, "I would like to renew my Zolpharin prescription.")
    assert "Zolpharin" not in (await english.transcribe(pcm, "eng", ())).text
    assert "Zolpharin" in (await english.transcribe(pcm, "eng", ("Vexley", "Zolpharin", "Tertulia"))).text
    pcm, _ = await recorded(voice, SENTENCES[0])
    assert bare((await english.transcribe(pcm, "eng", ("Zolpharin",))).text) == bare(SENTENCES[0])


async def test_a_short_message_is_encoded_with_little_silence_and_whole_if_it_seems_to_repeat_itself(
    voice: LocalVoice, english: LocalTranscriber, monkeypatch: pytest.MonkeyPatch
):
    lengths: list[int] = []
    encode = WhisperModel.encode

    def counting(model: WhisperModel, features: NDArray[np.float32]) -> Any:
        lengths.append(features.shape[-1])
        return encode(model, features)

    monkeypatch.setattr(WhisperModel, "encode", counting)
    pcm, _ = await recorded(voice, SENTENCES[0])
    heard = await english.transcribe(pcm, "eng", [])
    monkeypatch.setattr(hearing, "_REPETITION", 0)
    assert bare((await english.transcribe(pcm, "eng", [])).text) == bare(heard.text)
    assert lengths == [800, 800, 3000]


async def test_many_recordings_at_once_are_not_mixed_up(voice: LocalVoice, english: LocalTranscriber):
    recordings = [(await recorded(voice, text))[0] for text in SENTENCES[:2]]
    alone = [await english.transcribe(pcm, "eng", ()) for pcm in recordings]
    assert await asyncio.gather(*(english.transcribe(pcm, "eng", ()) for pcm in recordings)) == alone


async def test_a_recording_that_takes_too_long_is_an_error(
    voice: LocalVoice, english: LocalTranscriber, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tertulia.providers.voices.local.hearing._PATIENCE_S", -100.0)
    with pytest.raises(TranscriptionFailed):
        await english.transcribe((await recorded(voice, SENTENCES[0]))[0], "eng", ())


async def test_nothing_goes_online(weights_of: GetWeights, voice: LocalVoice, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        pytest.fail("it went online")

    path = weights_of(WHISPER_TINY_EN)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    transcriber = LocalTranscriber([Whisper(path, ENGLISH, 1)])
    assert (await transcriber.transcribe((await recorded(voice, SENTENCES[0]))[0], "eng", ())).text
    await transcriber.aclose()


async def test_the_first_model_that_knows_the_language_hears_it(tmp_path: Path):
    both = LocalTranscriber([Whisper(tmp_path / "en", ENGLISH, 1), Whisper(tmp_path / "all", WORLD, 5)])
    assert all(map(both.hears, ("eng", "spa", "cmn", "zho", "nob", "arb", "jav", "haw")))
    assert not any(map(both.hears, ("grc", "xyz")))
    alone = LocalTranscriber([Whisper(tmp_path / "en", ENGLISH, 1)])
    assert not alone.hears("spa")
    with pytest.raises(TranscriptionFailed):
        await alone.transcribe(b"", "spa", ())
    for one in (both, alone):
        await one.aclose()


async def test_a_model_that_cannot_be_loaded_is_left_out(tmp_path: Path):
    (tmp_path / "model.bin").write_bytes(b"not a model")
    transcriber = LocalTranscriber([Whisper(tmp_path, ENGLISH, 1)])
    with capture_logs() as logs:
        await transcriber.start()
    assert logs[0]["event"] == "What hears speech cannot be loaded."
    assert not transcriber.hears("eng")
    await transcriber.aclose()
