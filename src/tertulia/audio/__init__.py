"""Sound: samples, their formats, and the way from one to the other."""

from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tertulia.errors import BadRequest

if TYPE_CHECKING:  # they need an extra, or what does
    from tertulia.audio.config import AudioConfig
    from tertulia.audio.decode import Recorded


def require_codecs(what: str) -> None:
    """Raise BadRequest where the extra `voice` is not installed; `what` begins the text, and says what needs it."""
    if find_spec("av") is None:
        raise BadRequest(f"{what} this server has no codecs: its extra `voice` is not installed.")


def decoding(body: bytes, config: "AudioConfig", longest_s: float) -> "Callable[[], Recorded]":
    """`audio.decode.decode` of a recording, put off until it is called: it needs the extra `voice`, and blocks."""

    def decode() -> "Recorded":
        from tertulia.audio.decode import decode as decode_now  # noqa: PLC0415 - it needs an extra

        return decode_now(body, config, longest_s)

    return decode
