"""A caller's description of a recording, a JSON text."""

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from tertulia import problems
from tertulia.errors import Unprocessable


class FileAudioConfig(BaseModel):
    """A file that says everything else of itself. The contract has `mp3`; the others are ours."""

    model_config = ConfigDict(frozen=True, strict=True)

    type: Literal["mp3", "wav", "ogg", "webm", "flac", "mp4", "aac"]


class PcmAudioConfig(BaseModel):
    """Signed little-endian samples, bare or in a WAV file. `frame_rate` is in Hz, `sample_width` in bytes."""

    model_config = ConfigDict(frozen=True, strict=True)

    type: Literal["pcm"]
    frame_rate: Annotated[int, Field(ge=4000, le=44_100)]
    n_channels: Annotated[int, Field(ge=1, le=1)]  # Literal[1] takes true for 1
    sample_width: Literal[2, 4]


AudioConfig = Annotated[FileAudioConfig | PcmAudioConfig, Field(discriminator="type")]

_ADAPTER: TypeAdapter[FileAudioConfig | PcmAudioConfig] = TypeAdapter(AudioConfig)


def parse_audio_config(text: str, at: Sequence[str]) -> FileAudioConfig | PcmAudioConfig:
    """Read a config from its JSON text. Return it; `at` is the way to the text in a request.

    Raises:
        Unprocessable: names each part that is wrong, after the way to the text.
    """
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        raise Unprocessable.listing(problems.of_validation(error, _parts(text), at)) from None


def _parts(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
