"""Sounds and files of them, made anew: a tone in every form that a recording may have."""

import array
import io
import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

import av

from tertulia.audio.encode import Encoder
from tertulia.audio.pcm import RATE
from tertulia.audio.resample import frame_of


def tone(rate: int, seconds: float, hertz: float = 440, loudness: int = 10_000) -> bytes:
    """A sine as 16-bit mono PCM."""
    step = 2 * math.pi * hertz / rate
    return array.array("h", [round(loudness * math.sin(step * n)) for n in range(round(rate * seconds))]).tobytes()


def samples(pcm: bytes) -> Sequence[int]:
    return array.array("h", pcm)


def loudness(pcm: bytes, rate: int, hertz: float) -> float:
    """The amplitude of one frequency in 16-bit mono PCM."""
    step = 2 * math.pi * hertz / rate
    found = samples(pcm)
    parts = [sum(wave(step * n) * value for n, value in enumerate(found)) for wave in (math.cos, math.sin)]
    return 2 * math.hypot(*parts) / len(found)


def file_of(pcm: bytes, rate: int, layout: str, container: str, codec: str, **options: str) -> bytes:
    """Mono PCM, the same in each channel, as a file that FFmpeg writes."""
    out = io.BytesIO()
    with av.open(out, "w", format=container, container_options={"fflags": "+bitexact"}) as file:
        stream: Any = file.add_stream(codec, rate=rate, layout=layout, options=options)
        channels = len(av.AudioLayout(layout).channels)
        frame = av.AudioFrame("s16", layout, len(pcm) // 2)
        frame.sample_rate, frame.pts = rate, 0
        frame.planes[0].update(array.array("h", [value for value in samples(pcm) for _ in range(channels)]).tobytes())
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)
    return out.getvalue()


def mp3(pcm: bytes) -> bytes:
    """PCM at `RATE` as bare MP3 frames."""
    encoder = Encoder("mp3")
    return encoder.feed(pcm) + encoder.finish()


def ogg(seconds: float = 1, layout: str = "mono") -> bytes:
    return file_of(tone(48_000, seconds), 48_000, layout, "ogg", "libopus")


def vorbis(seconds: float = 1) -> bytes:
    return file_of(tone(44_100, seconds), 44_100, "stereo", "ogg", "vorbis", strict="experimental")


def webm(seconds: float = 1) -> bytes:
    return file_of(tone(48_000, seconds), 48_000, "mono", "webm", "libopus")


def streamed_webm(seconds: float = 1) -> bytes:
    """As browsers record: no lengths of what is not yet known."""
    out = io.BytesIO()
    with av.open(out, "w", format="webm", container_options={"live": "1", "fflags": "+bitexact"}) as file:
        stream = file.add_stream("libopus", rate=48_000, layout="mono")
        for packet in (*stream.encode(frame_of(tone(48_000, seconds), 48_000)), *stream.encode(None)):
            file.mux(packet)
    return out.getvalue()


def flac(seconds: float = 1, layout: str = "stereo") -> bytes:
    return file_of(tone(44_100, seconds), 44_100, layout, "flac", "flac")


def tagged_mp3(seconds: float = 1) -> bytes:
    """An MP3 file as programs save it: an ID3 tag, a Xing header, stereo at 44.1 kHz."""
    return file_of(tone(44_100, seconds), 44_100, "stereo", "mp3", "libmp3lame")


def wave_file(data: bytes, code: int, channels: int, rate: int, bits: int, size: int | None = None) -> bytes:
    """A WAV file of any coding; `size` is what its header says of its length, if not the truth."""
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", code, channels, rate, rate * block, block, bits)
    told = len(data) if size is None else size
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", told) + data
    return b"RIFF" + struct.pack("<I", len(chunks) + 4 if size is None else size) + b"WAVE" + chunks


def id3(size: int) -> bytes:
    """An ID3 tag with a picture of so many bytes."""
    picture = b"APIC" + struct.pack(">I", size) + bytes(2) + b"\x00image/png\x00\x03\x00".ljust(size, b"\xff")
    length = len(picture)
    return b"ID3\x03\x00\x00" + bytes(length >> shift & 0x7F for shift in (21, 14, 7, 0)) + picture


def mp4(seconds: float = 1, codec: str = "aac", flags: str = "") -> bytes:
    """An MP4 file with its tables at the end, or with FFmpeg's `movflags` elsewhere, or in fragments."""
    out = io.BytesIO()
    options = {"fflags": "+bitexact", **({"movflags": flags, "frag_duration": "300000"} if flags else {})}
    with av.open(out, "w", format="mp4", container_options=options) as file:
        stream: Any = file.add_stream(codec, rate=48_000, layout="mono")
        frame = frame_of(tone(48_000, seconds), 48_000)
        frame.pts = 0
        for packet in (*stream.encode(frame), *stream.encode(None)):
            file.mux(packet)
    return out.getvalue()


FRAGMENTED = "empty_moov+default_base_moof"
"""The flags of a file as browsers record it."""


def adts(seconds: float = 1) -> bytes:
    return file_of(tone(44_100, seconds), 44_100, "stereo", "adts", "aac")


FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "mp3 of a stream": ("mp3", lambda: mp3(tone(RATE, 1))),
    "mp3 of a file": ("mp3", tagged_mp3),
    "ogg with opus": ("ogg", ogg),
    "ogg with vorbis": ("ogg", vorbis),
    "webm": ("webm", webm),
    "webm of a stream": ("webm", streamed_webm),
    "flac": ("flac", flac),
    "mp4 with its tables at the end": ("mp4", mp4),
    "mp4 with its tables in front": ("mp4", lambda: mp4(flags="faststart")),
    "mp4 of a stream": ("mp4", lambda: mp4(flags=FRAGMENTED)),
    "mp4 of a stream with places in the file": ("mp4", lambda: mp4(flags="empty_moov")),
    "mp4 with opus": ("mp4", lambda: mp4(codec="libopus")),
    "mp4 of a stream with opus": ("mp4", lambda: mp4(codec="libopus", flags=FRAGMENTED)),
    "aac": ("aac", adts),
    "wav": ("wav", lambda: wave_file(tone(16_000, 1), 1, 1, 16_000, 16)),
}
"""Each kind of file with the config's type: a second of 440 Hz at 10,000."""
