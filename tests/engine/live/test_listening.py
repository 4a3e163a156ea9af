"""Listening to a client's sound, however it is cut."""

import array
import itertools
from collections.abc import Sequence
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support import sounds
from tertulia.audio.config import FileAudioConfig, PcmAudioConfig
from tertulia.audio.pcm import HEARING_RATE, duration_ms
from tertulia.audio.resample import Resampler
from tertulia.engine.live.endpointing import AFTER_MS, BEFORE_MS, SILENCE_MS
from tertulia.engine.live.listening import MICROPHONE, Began, Paused, SoundStream, Utterance, WentOn
from tertulia.errors import BadRequest, PayloadTooLarge
from tertulia.providers.voices.local.hibari import RATE as HIBARI_RATE
from tertulia.providers.voices.local.hibari import HibariVoice
from tertulia.providers.voices.local.silero import Silero
from tertulia.providers.voices.scripted import ScriptedDetector

QUIET = bytes(2 * HEARING_RATE)
TONE = sounds.tone(HEARING_RATE, 0.5)
SOUND = QUIET + TONE + QUIET + TONE + TONE + QUIET


def heard(pieces: Sequence[bytes], config: PcmAudioConfig = MICROPHONE, longest_s: float = 120) -> list[bytes | str]:
    stream = SoundStream(config, ScriptedDetector(), longest_s)
    marks = [mark for piece in pieces for mark in stream.feed(piece)]
    assert len(stream._pcm) <= longest_s * HEARING_RATE * 2
    return ["started" if isinstance(mark, Began) else mark for mark in marks if isinstance(mark, Began | bytes)]


def test_utterances_are_heard_with_a_little_around_them():
    started, first, _, second = heard([SOUND])
    assert started == "started"
    assert isinstance(first, bytes)
    for utterance, spoken_ms in ((first, 500), (second, 1000)):
        assert isinstance(utterance, bytes)
        assert duration_ms(utterance, HEARING_RATE) == pytest.approx(spoken_ms + BEFORE_MS + AFTER_MS, abs=80)
    assert TONE in first


@given(st.lists(st.integers(0, len(SOUND)), max_size=40))
def test_it_is_the_same_however_the_sound_is_cut(cuts: list[int]):
    edges = [0, *sorted(cuts), len(SOUND)]
    pieces = [SOUND[start:end] for start, end in itertools.pairwise(edges)]
    assert heard(pieces) == heard([SOUND])


@pytest.mark.parametrize(("rate", "width"), [(8000, 2), (44_100, 2), (24_000, 4), (16_000, 4)])
def test_samples_of_other_forms_are_heard_alike(rate: int, width: Literal[2, 4]):
    samples = bytes(2 * rate) + sounds.tone(rate, 0.5) + bytes(2 * rate)
    if width == 4:
        samples = b"".join(b"\0\0" + samples[at : at + 2] for at in range(0, len(samples), 2))
    config = PcmAudioConfig(type="pcm", frame_rate=rate, n_channels=1, sample_width=width)
    pieces = [samples[start : start + 999] for start in range(0, len(samples), 999)]
    _, utterance = heard(pieces, config)
    assert isinstance(utterance, bytes)
    assert duration_ms(utterance, HEARING_RATE) == pytest.approx(1000, abs=80)


def test_who_speaks_without_end_is_heard_in_parts():
    marks = heard([TONE] * 10, longest_s=1)
    utterances = [mark for mark in marks if isinstance(mark, bytes)]
    assert len(utterances) == 5
    assert all(duration_ms(utterance, HEARING_RATE) <= 1000 for utterance in utterances)


async def test_a_person_is_noticed_within_a_fifth_of_a_second_and_heard_whole():
    voice, resampler = HibariVoice(), Resampler(HIBARI_RATE, HEARING_RATE)
    pcm = b"".join([resampler.feed(sound.pcm) async for sound in voice.speak("Hold on a second, please.")])
    await voice.aclose()
    loud = [number for number, sample in enumerate(array.array("h", pcm)) if abs(sample) > 600]
    begins_ms, ends_ms = (1000 + loud[at] / HEARING_RATE * 1000 for at in (0, -1))
    stream = SoundStream(MICROPHONE, Silero().detector(), 120)
    sound, step = QUIET + pcm + QUIET, 2 * HEARING_RATE // 100
    marks = [
        (duration_ms(sound[: start + step], HEARING_RATE), mark)
        for start in range(0, len(sound), step)
        for mark in stream.feed(sound[start : start + step])
        if isinstance(mark, Began | bytes)
    ]
    (started_ms, started), (ended_ms, utterance) = marks
    assert isinstance(started, Began)
    assert isinstance(utterance, bytes)
    assert begins_ms < started_ms < begins_ms + 200
    assert ends_ms < ended_ms < ends_ms + SILENCE_MS + 200
    assert pcm[loud[0] * 2 : loud[-1] * 2] in utterance


def test_what_is_heard_in_the_last_pause_is_the_whole_utterance():
    stream = SoundStream(MICROPHONE, ScriptedDetector(), 120)
    hesitation = bytes(2 * HEARING_RATE * 350 // 1000)
    _, first, went_on, last, utterance = stream.feed(QUIET + TONE + hesitation + TONE + QUIET)

    assert isinstance(first, Paused)
    assert isinstance(last, Paused)
    assert isinstance(utterance, bytes)
    assert went_on == WentOn()
    assert last.pcm == utterance
    assert utterance.startswith(first.pcm)
    assert len(first.pcm) < len(utterance) - len(TONE)


def test_silence_is_forgotten():
    stream = SoundStream(MICROPHONE, ScriptedDetector(), 120)
    for _ in range(100):
        assert list(stream.feed(QUIET)) == []
    assert duration_ms(bytes(stream._pcm), HEARING_RATE) < 400


def test_too_large_an_utterance_is_told_once_and_not_kept():
    utterance = Utterance(MICROPHONE, 100)
    utterance.add(bytes(100), None)
    with pytest.raises(PayloadTooLarge):
        utterance.add(bytes(1), None)
    utterance.add(bytes(100), None)
    assert utterance.body is None


def test_an_utterance_has_one_config():
    utterance = Utterance(MICROPHONE, 100)
    utterance.add(b"a", MICROPHONE)
    with pytest.raises(BadRequest):
        utterance.add(b"b", FileAudioConfig(type="mp3"))
    assert utterance.body == b"a"
