"""Voices in this process and beside it: hibari and espeak-ng themselves."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import numpy as np
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tertulia.audio.pcm import duration_ms
from tertulia.errors import VoiceFailed
from tertulia.providers import DEFAULT_VOICE
from tertulia.providers.base import Word
from tertulia.providers.voices.local.espeak import dialects
from tertulia.providers.voices.local.voice import LocalVoice, open_voice

pytestmark = pytest.mark.asyncio(loop_scope="module")

SENTENCES = (
    "The library opens at nine in the morning.",
    "Dr. Smith's appointment on 3/4/2024 costs $9.99.",
    "Yes!",
    "Would you rather have tea, or a cup of coffee with milk?",
)
ODD = (
    "你好 means hello.",
    "①€ costs 5%",
    "re-2-do the x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1x1 test",
    "e\u0301tude",
    "\0 a",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def voice() -> AsyncIterator[LocalVoice]:
    opened = open_voice()
    yield opened
    await opened.aclose()


async def said(voice: LocalVoice, text: str, language: str = "eng", voice_id: str = DEFAULT_VOICE):
    """All PCM, and all words."""
    pcm = b""
    words: list[Word] = []
    async with aclosing(voice.speak(text, voice_id, language)) as sounds:
        async for sound in sounds:
            pcm += sound.pcm
            words += sound.words
    return pcm, words


def is_orderly(words: list[Word], text: str, pcm: bytes, rate: int) -> bool:
    places = [place for word in words for place in (word.start, word.end)]
    times = [ms for word in words for ms in (word.begins_ms, word.ends_ms)]
    return (
        places == sorted(places)
        and times == sorted(times)
        and all(0 <= word.start < word.end <= len(text) and text[word.start : word.end].strip() for word in words)
        and all(0 <= ms <= duration_ms(pcm, rate) + 1 for ms in times)
    )


async def test_every_word_of_an_english_sentence_is_told_with_its_time(voice: LocalVoice):
    text = SENTENCES[1]
    pcm, words = await said(voice, text)
    assert [text[word.start : word.end] for word in words] == text.split()
    assert is_orderly(words, text, pcm, voice.rate)
    assert 3000 < duration_ms(pcm, voice.rate) < 7000


async def test_the_sound_begins_soon_and_is_loud_where_words_are(voice: LocalVoice):
    pcm, words = await said(voice, "Hello there, how are you today?")
    samples = np.frombuffer(pcm, "<i2").astype(float)
    loudness = [np.sqrt(np.mean(samples[round(word.begins_ms * 24) : round(word.ends_ms * 24)] ** 2)) for word in words]
    assert words[0].begins_ms <= 150
    assert min(loudness) > 300
    assert np.abs(samples[: round(words[0].begins_ms * 24 / 3)]).max() < 300


async def test_a_text_sounds_the_same_whoever_speaks_beside_it(voice: LocalVoice):
    alone = [await said(voice, text) for text in SENTENCES]
    together = await asyncio.gather(*(said(voice, text) for text in SENTENCES * 3))
    assert together == alone * 3


async def test_a_long_text_comes_in_pieces_and_whoever_stops_listening_stops_it(voice: LocalVoice):
    text = "and so we went on and on " * 100
    async with aclosing(voice.speak(text, "heart", "eng")) as sounds:
        first = await anext(sounds)
    assert duration_ms(first.pcm, voice.rate) < 30_000
    pcm, words = await said(voice, text.strip()[:700])
    assert is_orderly(words, text, pcm, voice.rate)
    assert [text[word.start : word.end] for word in words] == text.strip()[:700].split()


async def test_long_numbers_are_not_waited_for(voice: LocalVoice):
    text = "Call 1234567890 or $9,999,999.99 " * 8
    async with aclosing(voice.speak(text, "heart", "eng")) as sounds:
        lengths_ms = [duration_ms(sound.pcm, voice.rate) async for sound in sounds]
    assert len(lengths_ms) > 3
    assert max(lengths_ms) < 35_000
    pcm, words = await said(voice, text)
    assert is_orderly(words, text, pcm, voice.rate)
    assert [text[word.start : word.end] for word in words] == text.split()


@pytest.mark.parametrize("text", ODD)
async def test_what_cannot_be_read_is_left_out(voice: LocalVoice, text: str):
    pcm, words = await said(voice, text)
    assert words
    assert is_orderly(words, text, pcm, voice.rate)


@pytest.mark.parametrize("text", ["你好", "😀", "…", " \n "])
async def test_a_text_without_anything_to_read_is_a_short_silence(voice: LocalVoice, text: str):
    pcm, words = await said(voice, text)
    assert set(pcm) == {0}
    assert not words


READABLE = st.text(alphabet="0123456789.,:/-$%£€°#+ aAIVXmps'é½²①ⅣKk", max_size=40)


@pytest.mark.parametrize("language", ["eng", "spa", "cmn"])
async def test_no_text_breaks_it(voice: LocalVoice, language: str):
    loop = asyncio.get_running_loop()

    @settings(max_examples=40, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.text(max_size=40) | READABLE)
    def check(text: str) -> None:
        pcm, words = asyncio.run_coroutine_threadsafe(said(voice, text, language), loop).result(30)
        assert pcm or not text.strip()
        assert is_orderly(words, text, pcm, voice.rate)

    await asyncio.to_thread(check)


async def test_other_languages_have_their_own_voice_and_words_with_times(voice: LocalVoice):
    text = "Hola, ¿cómo está usted? Son 125 euros 😀 al día."
    pcm, words = await said(voice, text, "spa")
    assert [text[word.start : word.end] for word in words if text[word.start].isalnum()] == [
        *("Hola", "cómo", "está", "usted", "Son", "125", "euros", "al", "día"),
    ]
    assert is_orderly(words, text, pcm, voice.rate)
    assert 2000 < duration_ms(pcm, voice.rate) < 8000


async def test_voices_can_be_named(voice: LocalVoice):
    listed = {info.id: info for info in await voice.voices()}
    assert listed["heart"].languages == ("eng",)
    assert listed["espeak:es"].languages == ("spa",)
    assert listed["espeak:pt-br"].name == "Portuguese (Brazil)"
    assert {info.id for info in listed.values() if "nob" in info.languages} == {"espeak:nb"}
    assert all([await voice.knows(id_) for id_ in (*listed, DEFAULT_VOICE, "espeak:fr-fr")])
    assert not await voice.knows("emma")
    british, _ = await said(voice, "Good morning.", "eng", "espeak:en-gb")
    american, _ = await said(voice, "Good morning.", "eng", "espeak:en-us")
    assert british
    assert british != american


async def test_a_voice_of_another_language_is_not_used(voice: LocalVoice):
    text = "Buenos días."
    lengths = [len((await said(voice, text, "spa", id_))[0]) for id_ in (DEFAULT_VOICE, "heart", "espeak:de")]
    assert max(lengths) - min(lengths) < 0.02 * min(lengths)
    with pytest.raises(VoiceFailed):
        await said(voice, "Buenos días.", "xyz")


async def test_without_espeak_only_english_is_spoken():
    alone = LocalVoice(())
    assert alone.speaks("eng")
    assert not alone.speaks("spa")
    assert [info.id for info in await alone.voices()] == ["heart"]
    assert not await alone.knows("espeak:es")
    await alone.aclose()


async def test_a_variety_is_spoken_as_its_language(voice: LocalVoice):
    assert all(map(voice.speaks, ("eng", "spa", "cmn", "zho", "ara", "arb", "zsm", "nob", "nor")))
    assert not any(map(voice.speaks, ("xyz", "bod")))
    assert (await said(voice, "مرحبا", "arb"))[1]
    assert (await said(voice, "مرحبا", "arb", "espeak:ar"))[1]


async def test_languages_are_named_by_iso_639_3():
    languages = {dialect.language for dialect in dialects()}
    assert languages >= {"ara", "cmn", "deu", "fra", "hin", "ita", "jpn", "nob", "por", "rus", "spa", "zho"}
    assert len(languages) > 100
    usual = {dialect.language: dialect.tag for dialect in reversed(dialects())}
    assert [usual[code] for code in ("spa", "por", "rus", "zho", "fra")] == ["es", "pt", "ru", "zh", "fr"]
