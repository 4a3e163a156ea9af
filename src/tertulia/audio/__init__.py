"""Sound: samples, their formats, and the way from one to the other."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tertulia.errors import CodecsMissing

if TYPE_CHECKING:  # they need an extra, or what does
    from tertulia.audio.config import AudioConfig
    from tertulia.audio.decode import Recorded


def require_codecs() -> None:
    """Raise CodecsMissing unless the extra `voice` is installed."""
    if find_spec("av") is None:
        raise CodecsMissing


def decoding(body: bytes, config: "AudioConfig", longest_s: float) -> "Callable[[], Recorded]":
    """Put off the decoding of a recording, which blocks and needs the extra `voice`. Return the function that decodes.

    That function raises as `audio.decode.decode` does.
    """

    def decode() -> "Recorded":
        from tertulia.audio.decode import decode as decode_now  # noqa: PLC0415 - it needs an extra

        return decode_now(body, config, longest_s)

    return decode
