"""Small bodies that would become much, decoded in a process of their own: `python -m support.bombs`.

It prints what each cost, as JSON.
"""

import io
import json
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import av
import psutil

from support import sounds
from tertulia.audio.config import FileAudioConfig
from tertulia.audio.decode import decode
from tertulia.errors import BadRecording, UnreadableRecording

BYTES = 8_000_000
MAX_S = 120
_SILENT_OPUS = bytes([0x1B, 2])  # two frames of 60 ms without a byte
OPUS_HEAD = b"OpusHead" + struct.pack("<BBHIhB", 1, 1, 312, 48_000, 0, 0)
_SHORT_OPUS = bytes([0x80])  # 2.5 ms


def ogg_page(number: int, packets: list[bytes], first: bool = False) -> bytes:
    """A page of short packets. Its checksum is left out: nobody looks at it."""
    head = struct.pack("<4sBBqIIIB", b"OggS", 0, 2 if first else 0, 0, 1, number, 0, len(packets))
    return head + bytes(map(len, packets)) + b"".join(packets)


def many_opus_packets(packet: bytes) -> bytes:
    page = ogg_page(2, [packet] * 255)
    return ogg_page(0, [OPUS_HEAD], first=True) + ogg_page(1, [b"OpusTags" + bytes(8)]) + page * (BYTES // len(page))


def silent_flac() -> bytes:
    """An hour in some kilobytes."""
    out = io.BytesIO()
    with av.open(out, "w", format="flac") as file:
        stream = file.add_stream("flac", rate=8000, layout="mono")
        for minute in range(60):
            frame = av.AudioFrame("s16", "mono", 8000 * 60)
            frame.sample_rate, frame.pts = 8000, 8000 * 60 * minute
            frame.planes[0].update(bytes(2 * 8000 * 60))
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out.getvalue()


def silent_mp3() -> bytes:
    return sounds.mp3(bytes(48_000))[1920:2112] * (BYTES // 192)


def flac_with(block: bytes) -> bytes:
    body = sounds.flac(0.1)
    return body[:42] + block + body[42:]


def many_comments() -> bytes:
    count = BYTES // 7
    block = struct.pack("<II", 0, count) + b"\x03\x00\x00\x00a=b" * count
    return flac_with(b"\x04" + len(block).to_bytes(3) + block)


def element(name: int, data: bytes) -> bytes:
    """An element of WebM."""
    return name.to_bytes((name.bit_length() + 7) // 8) + (len(data) | 1 << 56).to_bytes(8) + data


def compressed_webm() -> bytes:
    """A block of 200 packets, each of which zlib makes a thousand times as long."""
    compression = element(0x6D80, element(0x6240, element(0x5034, element(0x4254, b"\x00"))))
    coding = element(0x86, b"A_OPUS") + element(0x63A2, OPUS_HEAD)
    track = element(0xAE, element(0xD7, b"\x01") + element(0x83, b"\x02") + coding + compression)
    block = b"\x81\x00\x00\x84" + bytes([199]) + zlib.compress(bytes(9_000_000), 9) * 200
    cluster = element(0x1F43B675, element(0xA3, block))
    return element(0x1A45DFA3, b"") + element(0x18538067, element(0x1654AE6B, track) + cluster)


def box(name: bytes, data: bytes) -> bytes:
    """A box of MP4."""
    return struct.pack(">I4s", len(data) + 8, name) + data


def mp4_of_boxes() -> bytes:
    track = box(b"trak", box(b"free", b"") * 50)
    return box(b"ftyp", b"") + box(b"moov", track * (BYTES // len(track)))


def mp4_again_and_again() -> bytes:
    """A file whose table lists its one packet a billion times."""
    body = sounds.mp4(0.1)
    sizes = body.index(b"stsz") + 8
    groups = body.index(b"stsc") + 12
    body = body[:sizes] + struct.pack(">II", len(body) // 2, 1_000_000_000) + body[sizes + 8 :]
    return body[:groups] + struct.pack(">II", 1, 1_000_000_000) + body[groups + 8 :]


def mp4_of_empty_runs() -> bytes:
    """Fragments that say they have a billion packets of no length."""
    run = box(b"trun", struct.pack(">II", 0, 1_000_000_000))
    fragment = box(b"moof", box(b"traf", box(b"tfhd", struct.pack(">III", 0x10, 1, 0)) + run))
    return sounds.mp4(0.1, flags=sounds.FRAGMENTED) + fragment * 100


def silent_adts() -> bytes:
    frames = sounds.file_of(bytes(16_000), 8000, "mono", "adts", "aac")
    return frames * (BYTES // len(frames))


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "hours of Opus": ("ogg", lambda: many_opus_packets(_SILENT_OPUS)),
    "short packets of Opus": ("ogg", lambda: many_opus_packets(_SHORT_OPUS)),
    "empty packets": ("ogg", lambda: many_opus_packets(b"")),
    "empty pages": ("ogg", lambda: sounds.ogg(0.1) + ogg_page(7, []) * (BYTES // 27)),
    "an hour of FLAC": ("flac", silent_flac),
    "a million comments": ("flac", many_comments),
    "empty blocks": ("flac", lambda: flac_with(b"\x01\x00\x00\x00" * (BYTES // 4))),
    "an hour of MP3": ("mp3", silent_mp3),
    "empty tags": ("mp3", lambda: b"ID3\x03".ljust(10, b"\0") * (BYTES // 10)),
    "a large picture": ("mp3", lambda: sounds.id3(BYTES) + sounds.tagged_mp3(0.1)),
    "headers without a frame": ("mp3", lambda: sounds.mp3(bytes(9600)) + b"\xff\xf3\x84\xc4" * (BYTES // 4)),
    "empty elements": ("webm", lambda: sounds.webm(0.1) + b"\xec\x80" * (BYTES // 2)),
    "compressed packets": ("webm", compressed_webm),
    "empty boxes": ("mp4", lambda: sounds.mp4(0.1) + box(b"free", b"") * (BYTES // 8)),
    "boxes in boxes": ("mp4", mp4_of_boxes),
    "one packet a billion times": ("mp4", mp4_again_and_again),
    "a billion empty packets": ("mp4", mp4_of_empty_runs),
    "an hour of AAC": ("aac", silent_adts),
    "headers of AAC": ("aac", lambda: sounds.adts(0.1) + b"\xff\xf1\x50\x80\x01\x00\xfc\x00" * (BYTES // 8)),
    "empty chunks": ("wav", lambda: b"RIFF\xff\xff\xff\xffWAVE" + b"junk\x00\x00\x00\x00" * (BYTES // 8)),
}


def cost(kind: str, body: bytes) -> dict[str, object]:
    """Decode a body. Return what came of it, the seconds of CPU, and the bytes by which memory grew at most."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, began = psutil.Process().memory_info().rss, time.process_time()
    try:
        decode(body, FileAudioConfig.model_validate({"type": kind}), MAX_S)
        came = "Recorded"
    except (UnreadableRecording, BadRecording) as error:
        came = error.detail
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) * 1024
    return {"came": came, "cpu_s": time.process_time() - began, "grown": peak - before}


if __name__ == "__main__":
    print(json.dumps({name: cost(kind, make()) for name, (kind, make) in BOMBS.items()}))
