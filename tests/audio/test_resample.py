from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.sounds import loudness, tone
from tertulia.audio.resample import Resampler

RATES = [4000, 8000, 11_025, 16_000, 22_050, 24_000, 44_099, 44_100, 48_000, 96_000, 192_000]
NOISE = bytes((n * n * 7919 >> 5) & 0xFF for n in range(20_000))


def resampled(pieces: Sequence[bytes], rate_in: int, rate_out: int) -> bytes:
    resampler = Resampler(rate_in, rate_out)
    return b"".join([*(resampler.feed(piece) for piece in pieces), resampler.finish()])


def cut(pcm: bytes, sizes: Sequence[int]) -> list[bytes]:
    pieces: list[bytes] = []
    for size in sizes:
        pieces.append(pcm[:size])
        pcm = pcm[size:]
    return [*pieces, pcm]


@pytest.mark.parametrize("rate_in", RATES)
@pytest.mark.parametrize("rate_out", [16_000, 24_000])
def test_a_length_is_right_to_the_sample(rate_in: int, rate_out: int) -> None:
    for samples in (0, 1, 2, 7, 100, 9999):
        assert len(resampled([NOISE[: samples * 2]], rate_in, rate_out)) // 2 == round(samples * rate_out / rate_in)


def test_an_hour_does_not_drift() -> None:
    resampler = Resampler(44_100, 24_000)
    second = bytes(44_100 * 2)
    length = sum(len(resampler.feed(second)) for _ in range(3600)) + len(resampler.finish())
    assert length == 3600 * 24_000 * 2


@settings(max_examples=40, deadline=None)
@given(
    rate_in=st.sampled_from(RATES),
    rate_out=st.sampled_from([16_000, 24_000]),
    length=st.integers(0, len(NOISE)),
    sizes=st.lists(st.integers(0, 3000), max_size=12),
)
def test_how_the_input_is_cut_makes_no_difference(rate_in: int, rate_out: int, length: int, sizes: list[int]) -> None:
    pcm = NOISE[:length]
    assert resampled(cut(pcm, sizes), rate_in, rate_out) == resampled([pcm], rate_in, rate_out)


@pytest.mark.parametrize("rate_in", RATES)
@pytest.mark.parametrize("rate_out", [16_000, 24_000])
def test_a_tone_stays_as_it_is(rate_in: int, rate_out: int) -> None:
    heard = resampled([tone(rate_in, 0.5, 1000)], rate_in, rate_out)[1000:-1000]
    assert loudness(heard, rate_out, 1000) == pytest.approx(10_000, rel=0.02)
    assert loudness(heard, rate_out, 1700) < 100


def test_what_a_lower_rate_cannot_hold_is_not_heard() -> None:
    heard = resampled([tone(48_000, 0.5, 12_000)], 48_000, 16_000)[1000:-1000]
    assert loudness(heard, 16_000, 4000) < 50


def test_samples_are_given_while_more_are_fed() -> None:
    resampler = Resampler(24_000, 16_000)
    given = [len(resampler.feed(bytes(960))) for _ in range(10)]  # 20 ms each
    assert all(given)
    assert sum(given) >= 10 * 640 - 64  # not more than 2 ms behind
