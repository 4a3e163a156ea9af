import math
from collections.abc import Sequence
from typing import Literal

import miniaudio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.sounds import loudness, samples, tone
from tertulia.audio.config import FileAudioConfig
from tertulia.audio.decode import decode
from tertulia.audio.encode import Encoder
from tertulia.audio.pcm import HEARING_RATE, RATE
from tertulia.audio.resample import Resampler

FRAME_BYTES = 192
FRAME_SAMPLES = 576
NOISE = bytes((n * n * 7919 >> 5) & 0x3F for n in range(60_000))


def encoded(pieces: Sequence[bytes], audio_format: Literal["pcm", "mp3"] = "mp3") -> bytes:
    encoder = Encoder(audio_format)
    return b"".join([*(encoder.feed(piece) for piece in pieces), encoder.finish()])


def played(mp3: bytes) -> bytes:
    """As dr_mp3 plays it, a decoder that has nothing in common with ours."""
    sound = miniaudio.decode(mp3, miniaudio.SampleFormat.SIGNED16, nchannels=1, sample_rate=RATE)
    return sound.samples.tobytes()


def delay(sound: bytes, original: bytes, most: int) -> int:
    """By how many samples a sound comes later than its original: where the two agree best."""
    late, first = samples(sound), samples(original)
    return max(range(most), key=lambda shift: sum(a * b for a, b in zip(first, late[shift:], strict=False)))


def chirp(rate: int) -> bytes:
    """A fifth of a second that agrees with itself at one place only."""
    return b"".join(
        round(10_000 * math.sin(2 * math.pi * (300 + 4000 * n / rate) * n / rate)).to_bytes(2, "little", signed=True)
        for n in range(rate // 5)
    )


def test_another_decoder_plays_the_tone() -> None:
    heard = played(encoded([tone(RATE, 2, 1000)]))
    assert len(heard) // 2 == pytest.approx(2 * RATE + 1105, abs=2 * FRAME_SAMPLES)
    middle = heard[RATE : 3 * RATE]
    assert loudness(middle, RATE, 1000) == pytest.approx(10_000, rel=0.1)
    assert loudness(middle, RATE, 1300) < 100


def test_the_delay_is_what_two_decoders_show() -> None:
    sound = chirp(RATE)
    mp3 = encoded([sound])
    claimed = Encoder("mp3").delay_ms
    assert delay(played(mp3), sound, 2500) / RATE * 1000 == pytest.approx(claimed, abs=0.05)
    resampler = Resampler(RATE, HEARING_RATE)
    ours = decode(mp3, FileAudioConfig(type="mp3"), 10).pcm
    original = resampler.feed(sound) + resampler.finish()
    assert delay(ours, original, 1700) / HEARING_RATE * 1000 == pytest.approx(claimed, abs=0.1)


@pytest.mark.parametrize("length", [1, 575, 576, 577, 24_000])
def test_the_last_sample_is_played(length: int) -> None:
    assert len(played(encoded([bytes(2 * length)]))) // 2 >= length + 1105


def test_every_frame_stands_alone() -> None:
    mp3 = encoded([tone(RATE, 1)])
    frames = [mp3[at : at + FRAME_BYTES] for at in range(0, len(mp3), FRAME_BYTES)]
    assert {frame[:3] for frame in frames} == {b"\xff\xf3\x84"}  # MPEG-2 Layer III, 64 kbit/s, 24 kHz, without padding
    assert {int.from_bytes(frame[4:6]) >> 8 for frame in frames} == {0}  # needs no byte of an earlier frame
    rest = played(b"".join(frames[20:]))
    assert len(rest) // 2 == (len(frames) - 20) * FRAME_SAMPLES
    assert loudness(rest[4000:-4000], RATE, 440) == pytest.approx(10_000, rel=0.1)


def test_messages_may_be_joined() -> None:
    both = played(encoded([tone(RATE, 1, 500)]) + encoded([tone(RATE, 1, 2000)]))
    assert loudness(both[6000:42_000], RATE, 500) == pytest.approx(10_000, rel=0.1)
    assert loudness(both[60_000:90_000], RATE, 2000) == pytest.approx(10_000, rel=0.1)


@settings(max_examples=30, deadline=None)
@given(length=st.integers(0, len(NOISE) // 2), sizes=st.lists(st.integers(0, 9000), max_size=12))
def test_how_the_input_is_cut_makes_no_difference(length: int, sizes: list[int]) -> None:
    pcm = NOISE[: 2 * length]
    pieces: list[bytes] = []
    rest = pcm
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    assert encoded([*pieces, rest]) == encoded([pcm])


def test_frames_are_given_while_more_is_fed() -> None:
    encoder = Encoder("mp3")
    given = [len(encoder.feed(bytes(2 * FRAME_SAMPLES))) for _ in range(10)]
    assert given == [0, *[FRAME_BYTES] * 9]


def test_nothing_becomes_nothing() -> None:
    assert encoded([]) == b""
    assert encoded([b""], "pcm") == b""


def test_pcm_is_passed_on() -> None:
    assert encoded([b"ab", b"cd"], "pcm") == b"abcd"
    assert Encoder("pcm").delay_ms == 0
