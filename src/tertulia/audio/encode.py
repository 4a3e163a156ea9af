"""Speech as it leaves: bare samples, or MP3 through PyAV (the extra `voice`)."""

from collections.abc import Callable, Iterable
from typing import Any, Literal

import av

from tertulia.audio.pcm import RATE, SAMPLE_BYTES

AudioFormat = Literal["pcm", "mp3"]

_BIT_RATE = 64_000
_MP3_DELAY_MS = 1105 / RATE * 1000  # 576 samples of LAME's, 529 of every decoder's; a test measures it


class Encoder:
    """16-bit mono PCM at `RATE` Hz to an audio format, as a stream.

    `pcm` is passed on as it is. `mp3` is MPEG-2 Layer III, 64 kbit/s CBR: frames of 192 bytes and 24 ms, each of which
    needs no other (no bit reservoir, no Xing header), so that a stream may be cut or joined at any frame.

    `delay_ms` is what is played before the first sample: 0 for `pcm`, 46.04 ms (1105 samples) for `mp3`, as
    both dr_mp3 and FFmpeg play it. How the input is cut makes no difference to the output.
    """

    def __init__(self, audio_format: AudioFormat) -> None:
        self._encode = _mp3_encoder() if audio_format == "mp3" else None
        self.delay_ms = _MP3_DELAY_MS if audio_format == "mp3" else 0.0
        self._waiting = bytearray()

    def feed(self, pcm: bytes) -> bytes:
        """Encode samples. Return whole MP3 frames; the newest 24 to 48 ms of sound are kept back."""
        if self._encode is None:
            return pcm
        self._waiting += pcm
        out = bytearray()
        while len(self._waiting) >= _FRAME_BYTES:
            out += self._encode(bytes(self._waiting[:_FRAME_BYTES]))
            del self._waiting[:_FRAME_BYTES]
        return bytes(out)

    def finish(self) -> bytes:
        """End the sound. Return the rest of the file; nothing may be fed after that."""
        if self._encode is None:
            return b""
        rest = bytes(self._waiting[: len(self._waiting) // SAMPLE_BYTES * SAMPLE_BYTES])
        return (self._encode(rest) if rest else b"") + self._encode(None)


_FRAME_BYTES = 576 * SAMPLE_BYTES


def _mp3_encoder() -> Callable[[bytes | None], bytes]:
    codec: Any = av.CodecContext.create("libmp3lame", "w")
    codec.sample_rate, codec.layout, codec.format = RATE, "mono", "s16p"
    codec.bit_rate = _BIT_RATE
    codec.options = {"reservoir": "0"}
    codec.open()
    # `encode` puts a graph of filters in front, which starts a thread for each core; frames that fit need none.
    send: Callable[[av.AudioFrame | None], Iterable[bytes]]
    send = getattr(codec, "_send_frame_and_recv", codec.encode_lazy)

    def encode(pcm: bytes | None) -> bytes:
        return b"".join(send(None if pcm is None else _frame(pcm)))

    return encode


def _frame(pcm: bytes) -> av.AudioFrame:
    frame = av.AudioFrame("s16p", "mono", len(pcm) // SAMPLE_BYTES)
    frame.sample_rate = RATE
    frame.planes[0].update(pcm)
    return frame
