"""The voice that whistles its text, and what hears it."""

import math
import random
import struct
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tertulia.errors import VoiceFailed
from tertulia.providers import DEFAULT_VOICE
from tertulia.providers.base import HEARING_RATE, Sound, Word
from tertulia.providers.voices.scripted import ScriptedDetector, ScriptedTranscriber, ScriptedVoice

TEXT = "Hello, Ana. What would you like?"


async def say(text: str, voice_id: str = DEFAULT_VOICE, voice: ScriptedVoice | None = None) -> list[Sound]:
    return [sound async for sound in (voice or ScriptedVoice()).speak(text, voice_id, "eng")]


async def recorded(text: str, voice_id: str = DEFAULT_VOICE) -> bytes:
    """A text as it is heard: two of three samples."""
    pcm = b"".join(sound.pcm for sound in await say(text, voice_id))
    samples = struct.unpack(f"<{len(pcm) // 2}h", pcm)
    between = [(samples[n] + samples[n + 1]) // 2 for n in range(1, len(samples) - 1, 3)]
    kept = [sample for pair in zip(samples[::3], between, strict=False) for sample in pair]
    return struct.pack(f"<{len(kept)}h", *kept)


async def heard(pcm: bytes) -> str:
    return (await ScriptedTranscriber().transcribe(pcm, "eng", ())).text


@settings(max_examples=20, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
async def test_what_is_said_is_heard(text: str):
    assert await heard(await recorded(text)) == text


async def test_every_voice_is_heard():
    found = {voice.id: await heard(await recorded(TEXT, voice.id)) for voice in await ScriptedVoice().voices()}
    assert found == {"tone": TEXT, "tone-soft": TEXT}


async def test_words_are_told_when_they_sound():
    spoken = [word for sound in await say(TEXT) for word in sound.words]
    transcript = await ScriptedTranscriber().transcribe(await recorded(TEXT), "eng", ())
    assert [TEXT[word.start : word.end] for word in spoken] == TEXT.split()
    assert spoken[0] == Word(0, 6, 20, 260)
    assert all(before.ends_ms < after.begins_ms for before, after in pairwise(spoken))
    assert [*transcript.words] == spoken


async def test_each_word_is_a_piece():
    assert [sound.words[0].start for sound in await say(TEXT) if sound.words] == [0, 7, 12, 17, 23, 27]


async def test_texts_after_each_other_are_heard_with_a_space_between():
    pcm = bytes(3000) + await recorded("Hello.") + bytes(400) + await recorded("Good day. ") + await recorded("Bye.")
    transcript = await ScriptedTranscriber().transcribe(pcm, "eng", ())
    assert transcript.text == "Hello. Good day. Bye."
    assert [transcript.text[word.start : word.end] for word in transcript.words] == ["Hello.", "Good", "day.", "Bye."]


async def test_of_a_text_that_is_cut_off_the_beginning_is_heard():
    pcm = await recorded(TEXT)
    assert TEXT.startswith(await heard(pcm[: len(pcm) // 2]))
    assert len(await heard(pcm[: len(pcm) // 2])) == pytest.approx(len(TEXT) / 2, abs=1)


async def test_silence_is_no_text():
    assert await heard(bytes(HEARING_RATE)) == await heard(b"") == await heard(b"\1") == ""


async def test_other_sound_is_described():
    def hum(seconds: float) -> bytes:
        count = round(HEARING_RATE * seconds)
        return struct.pack(f"<{count}h", *(round(9000 * math.sin(n / 7)) for n in range(count)))

    assert await heard(hum(0.2)) == "(1 second of sound)"
    assert await heard(hum(2.2)) == "(2 seconds of sound)"


async def test_a_recording_takes_little_more_memory_than_it_has_bytes():
    pcm = random.Random(1).randbytes(5 * HEARING_RATE * 2)
    await ScriptedTranscriber().transcribe(pcm[:HEARING_RATE], "eng", ())
    tracemalloc.start()
    try:
        await ScriptedTranscriber().transcribe(pcm, "eng", ())
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 4 * len(pcm)


async def test_it_fails_where_it_is_told_to():
    sounds = ScriptedVoice(fail_after=2).speak(TEXT, DEFAULT_VOICE, "eng")
    assert [len((await anext(sounds)).words) for _ in range(2)] == [0, 1]
    with pytest.raises(VoiceFailed):
        await anext(sounds)


async def test_languages_are_those_with_a_short_code():
    assert ScriptedVoice().speaks("eng")
    assert ScriptedTranscriber().hears("deu")
    assert not ScriptedVoice().speaks("tlh")
    assert not ScriptedTranscriber().hears("en")


async def test_an_unknown_voice_fails():
    assert not await ScriptedVoice().knows("nobody")
    with pytest.raises(VoiceFailed):
        await say(TEXT, "nobody")


async def test_speech_is_found_in_a_stream_cut_anywhere():
    stream = bytes(9600) + await recorded("Hi") + bytes(9600)
    detector = ScriptedDetector()
    found = [speech for start in range(0, len(stream), 70) for speech in detector.feed(stream[start : start + 70])]
    assert found == [0.0] * 10 + [1.0] * 4 + [0.0] * (len(stream) // 960 - 14)
