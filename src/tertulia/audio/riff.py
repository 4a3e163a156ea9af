"""WAV files, read by hand: FFmpeg's reader takes samples that look like another format for that format.

The chunks are those of RIFF; the codes of `fmt ` those of Microsoft's mmreg.h.
"""

import struct
from dataclasses import dataclass

_CODECS = {
    (1, 8): "pcm_u8",
    (1, 16): "pcm_s16le",
    (1, 24): "pcm_s24le",
    (1, 32): "pcm_s32le",
    (3, 32): "pcm_f32le",
    (3, 64): "pcm_f64le",
    (6, 8): "pcm_alaw",
    (7, 8): "pcm_mulaw",
}
_EXTENSIBLE = 0xFFFE
_STREAMED = 0xFFFFFFFF
_UNKNOWN = (0, _STREAMED)
_MOST_CHUNKS = 1000


class NotWave(Exception):
    """A body that cannot be read; the text says why, for the caller."""


@dataclass(frozen=True, slots=True)
class WaveForm:
    """The form of samples: `codec` is FFmpeg's name of their coding, `rate` in Hz."""

    codec: str
    rate: int
    channels: int
    sample_bytes: int

    @property
    def frame_bytes(self) -> int:
        """The bytes of one sample of all channels."""
        return self.channels * self.sample_bytes


@dataclass(frozen=True, slots=True)
class WaveHead:
    """The head of a WAV file: its samples begin at byte `start`, and `size` is what it says of their length."""

    form: WaveForm
    start: int
    size: int

    @property
    def length(self) -> int | None:
        """The bytes of the samples; None if the file was written as a stream, and has them up to its end."""
        return None if self.size in _UNKNOWN else self.size


@dataclass(frozen=True, slots=True)
class Wave:
    """The sound of a WAV file; `data` are whole frames of all channels."""

    form: WaveForm
    data: memoryview


def read_wave(body: bytes) -> Wave:
    """Read a WAV file, as far as it goes if it was cut off or never got its lengths. Return its sound.

    Raises NotWave.
    """
    head = read_head(body)
    if head is None:
        raise NotWave("its header is incomplete")
    end = head.start + _data_size(body, head.start, head.size)
    end -= (end - head.start) % head.form.frame_bytes
    return Wave(head.form, memoryview(body)[head.start : end])


def read_head(body: bytes) -> WaveHead | None:
    """Read the beginning of a WAV file. Return its head, or None if the samples do not begin in these bytes.

    Raises NotWave.
    """
    form = None
    position = 12
    for _ in range(_MOST_CHUNKS):
        if position + 8 > len(body):
            return None
        name, size = body[position : position + 4], int.from_bytes(body[position + 4 : position + 8], "little")
        position += 8
        if name == b"fmt ":
            if position + min(size, 40) > len(body):
                return None
            form = _form(body[position : position + min(size, 40)])
        elif name == b"data" and form is not None:
            return WaveHead(form, position, size)
        position += size + size % 2
    raise NotWave("its header is incomplete")


def _data_size(body: bytes, position: int, size: int) -> int:
    """Find out how many bytes of samples there are: recorders that cannot go back leave a length of 0 or of all ones.

    Return their number.
    """
    left = len(body) - position
    whole = int.from_bytes(body[4:8], "little") + 8 == len(body)
    return left if size > left or size == _STREAMED or (size == 0 and not whole) else size


def _form(chunk: bytes) -> WaveForm:
    if len(chunk) < 16:
        raise NotWave("its header is incomplete")
    code, channels, rate, _, block, bits = struct.unpack("<HHIIHH", chunk[:16])
    if code == _EXTENSIBLE and len(chunk) >= 26:
        code = int.from_bytes(chunk[24:26], "little")
    codec = _CODECS.get((code, bits))
    if codec is None:
        raise NotWave(f"its coding (format {code}, {bits} bits) is not known")
    if not channels or block != channels * bits // 8:
        raise NotWave("its header contradicts itself")
    return WaveForm(codec, rate, channels, bits // 8)
