from typing import Literal

import pytest

from tertulia.audio.config import FileAudioConfig, PcmAudioConfig, parse_audio_config
from tertulia.errors import Unprocessable

AT = ("query", "request_audio_config")
PCM = '{"type": "pcm", "frame_rate": %s, "n_channels": %s, "sample_width": %s}'


@pytest.mark.parametrize("kind", ["mp3", "wav", "ogg", "webm", "flac"])
def test_a_file_needs_its_type_alone(kind: str) -> None:
    config = parse_audio_config(f'{{"type": "{kind}"}}', AT)
    assert isinstance(config, FileAudioConfig)
    assert config.type == kind


@pytest.mark.parametrize(("rate", "width"), [(4000, 2), (44_100, 4), (16_000, 2)])
def test_samples_need_their_form(rate: int, width: Literal[2, 4]) -> None:
    config = parse_audio_config(PCM % (rate, 1, width), AT)
    assert config == PcmAudioConfig(type="pcm", frame_rate=rate, n_channels=1, sample_width=width)


def test_what_is_not_known_is_passed_over() -> None:
    assert parse_audio_config('{"type": "mp3", "bitrate": 64}', AT).type == "mp3"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        (PCM % (3999, 1, 2), ("frame_rate",)),
        (PCM % (44_101, 1, 2), ("frame_rate",)),
        (PCM % ('"16000"', 1, 2), ("frame_rate",)),
        (PCM % (16_000.5, 1, 2), ("frame_rate",)),
        (PCM % ("true", 1, 2), ("frame_rate",)),
        (PCM % (16_000, 2, 2), ("n_channels",)),
        (PCM % (16_000, "true", 2), ("n_channels",)),
        (PCM % (16_000, 1, 3), ("sample_width",)),
        (PCM % (16_000, 1, "null"), ("sample_width",)),
        ('{"type": "pcm", "frame_rate": 16000, "n_channels": 1}', ("sample_width",)),
        ('{"type": "aiff"}', ()),
        ('{"type": null}', ()),
        ("{}", ()),
        ("null", ()),
        ('"mp3"', ()),
        ("[]", ()),
        ("{", ()),
        ("", ()),
        ("[" * 100_000, ()),
    ],
)
def test_what_is_wrong_is_named(text: str, place: tuple[str, ...]) -> None:
    with pytest.raises(Unprocessable) as refused:
        parse_audio_config(text, AT)
    assert [problem["loc"] for problem in refused.value.problems] == [[*AT, *place]]
