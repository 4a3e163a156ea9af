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
_MOST_CHUNKS = 1000


class NotWave(Exception):
    """Why a body cannot be read, for the caller."""


@dataclass(frozen=True, slots=True)
class Wave:
    """`codec` is FFmpeg's name of the samples' coding, `rate` in Hz, `data` whole frames of all channels."""

    codec: str
    rate: int
    channels: int
    sample_bytes: int
    data: memoryview


def read_wave(body: bytes) -> Wave:
    """The sound of a WAV file. One that was cut off, or never got its lengths, is read as far as it goes."""
    form = None
    position = 12
    for _ in range(_MOST_CHUNKS):
        if position + 8 > len(body):
            break
        name, size = body[position : position + 4], int.from_bytes(body[position + 4 : position + 8], "little")
        position += 8
        if name == b"fmt ":
            form = _form(body[position : position + min(size, 40)])
        elif name == b"data" and form is not None:
            codec, rate, channels, sample_bytes = form
            end = position + _data_size(body, position, size)
            end -= (end - position) % (channels * sample_bytes)
            return Wave(codec, rate, channels, sample_bytes, memoryview(body)[position:end])
        position += size + size % 2
    raise NotWave("its header is incomplete")


def _data_size(body: bytes, position: int, size: int) -> int:
    """Bytes of the samples. Recorders that cannot go back leave a length of 0 or of all ones."""
    left = len(body) - position
    whole = int.from_bytes(body[4:8], "little") + 8 == len(body)
    return left if size > left or size == _STREAMED or (size == 0 and not whole) else size


def _form(chunk: bytes) -> tuple[str, int, int, int]:
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
    return codec, rate, channels, bits // 8
