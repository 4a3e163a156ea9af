"""Damaged recordings, decoded in a process of their own: `python -m support.mutations COUNT SEED`.

It prints what came of them, as JSON. A program, since a decoder that breaks its process must fail one test and not
end them all.
"""

import collections
import json
import random
import struct
import sys
import time
import zlib
from collections.abc import Callable, Iterator

import psutil

from support import sounds
from tertulia.audio.config import FileAudioConfig, PcmAudioConfig
from tertulia.audio.decode import decode
from tertulia.errors import BadRecording, UnreadableRecording

_MAX_S = 5
_PCM = PcmAudioConfig(type="pcm", frame_rate=16_000, n_channels=1, sample_width=2)
_WIDE_PCM = PcmAudioConfig(type="pcm", frame_rate=44_100, n_channels=1, sample_width=4)
_EXTREMES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
Config = FileAudioConfig | PcmAudioConfig


def originals() -> list[tuple[bytes, Config]]:
    """Small files of every kind, with the right config."""
    files = {
        "mp3": [sounds.mp3(sounds.tone(24_000, 0.3)), sounds.tagged_mp3(0.2), sounds.id3(300) + sounds.tagged_mp3(0.1)],
        "ogg": [sounds.ogg(0.3), sounds.ogg(0.1, "stereo"), sounds.vorbis(0.3)],
        "webm": [sounds.webm(0.3), sounds.webm(0.1)],
        "flac": [sounds.flac(0.3), sounds.flac(0.05, "5.1")],
        "mp4": [sounds.mp4(0.2), sounds.mp4(0.3, flags=sounds.FRAGMENTED), sounds.mp4(0.2, "libopus")],
        "aac": [sounds.adts(0.2)],
        "wav": [
            sounds.wave_file(sounds.tone(16_000, 0.3), 1, 1, 16_000, 16),
            sounds.wave_file(sounds.tone(48_000, 0.1), 3, 2, 48_000, 32),
            sounds.wave_file(sounds.tone(8000, 0.1), 7, 1, 8000, 8, size=0xFFFFFFFF),
            sounds.file_of(sounds.tone(8000, 0.1), 8000, "7.1", "wav", "pcm_s24le"),
        ],
    }
    made: list[tuple[bytes, Config]] = [
        (body, FileAudioConfig.model_validate({"type": kind})) for kind, bodies in files.items() for body in bodies
    ]
    bare = sounds.tone(16_000, 0.1)
    return [*made, (bare, _PCM), (bare, _WIDE_PCM), (files["wav"][0], _PCM)]


class Mutator:
    """Damages bodies, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._originals = originals()
        self._ways: list[Callable[[bytearray], bytearray]] = [
            self._flip, self._flip, self._cut, self._splice, self._repeat, self._head, self._number, self._erase,
        ]  # fmt: skip

    def __iter__(self) -> Iterator[tuple[bytes, Config]]:
        while True:
            body, config = self._random.choice(self._originals)
            damaged = bytearray(body)
            for _ in range(self._random.choice((1, 1, 2, 4))):
                damaged = self._random.choice(self._ways)(damaged)
            if self._random.random() < 0.5:
                mend_pages(damaged)
            if self._random.random() < 0.1:
                config = self._random.choice(self._originals)[1]
            yield bytes(damaged), config

    def _place(self, body: bytearray) -> int:
        """Anywhere, but as often near the front, where the headers are."""
        end = len(body) if self._random.random() < 0.5 else min(len(body), 200)
        return self._random.randrange(end + 1)

    def _flip(self, body: bytearray) -> bytearray:
        for _ in range(self._random.choice((1, 2, 8, 64))):
            place = self._place(body)
            if place < len(body):
                body[place] ^= 1 << self._random.randrange(8)
        return body

    def _cut(self, body: bytearray) -> bytearray:
        return body[: self._place(body)] if self._random.random() < 0.7 else body[self._place(body) :]

    def _splice(self, body: bytearray) -> bytearray:
        other = self._random.choice(self._originals)[0]
        return body[: self._place(body)] + other[self._place(bytearray(other)) :]

    def _repeat(self, body: bytearray) -> bytearray:
        start, times = self._place(body), self._random.choice((2, 3, 20))
        piece = body[start : start + self._random.choice((1, 4, 100, 2000))]
        return body[:start] + piece * times + body[start:]

    def _head(self, body: bytearray) -> bytearray:
        other = self._random.choice(self._originals)[0]
        length = self._random.choice((4, 12, 44, 100, 300))
        return bytearray(other[:length]) + body[self._random.choice((0, length)) :]

    def _number(self, body: bytearray) -> bytearray:
        place, value = self._place(body), self._random.choice(_EXTREMES)
        form = self._random.choice(("<I", ">I", "<H", ">H", "B"))
        number = struct.pack(form, value & (1 << 8 * struct.calcsize(form)) - 1)
        body[place : place + len(number)] = number
        return body

    def _erase(self, body: bytearray) -> bytearray:
        start = self._place(body)
        del body[start : start + self._random.choice((1, 2, 3, 50, 500))]
        return body


_MIRRORED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def mend_pages(body: bytearray) -> None:
    """Put the right checksums into an Ogg file's pages, without which a reader drops them (RFC 3533, 6)."""
    start = body.find(b"OggS")
    while 0 <= start <= len(body) - 27:
        head = start + 27 + body[start + 26]
        end = head + sum(body[start + 27 : head])
        body[start + 22 : start + 26] = bytes(4)
        # zlib's CRC-32 takes bits from the other end, and begins and ends with all ones.
        checksum = zlib.crc32(bytes(body[start:end]).translate(_MIRRORED), 0xFFFFFFFF) ^ 0xFFFFFFFF
        body[start + 22 : start + 26] = checksum.to_bytes(4, "big").translate(_MIRRORED)
        start = body.find(b"OggS", start + 4)


def attempt(body: bytes, config: Config) -> str:
    """Decode a body. Return the name of what comes of it."""
    try:
        decode(body, config, _MAX_S)
    except (UnreadableRecording, BadRecording) as error:
        return type(error).__name__
    return "Recorded"


def run(count: int, seed: int) -> dict[str, object]:
    """Decode so many damaged bodies; what came of them, and what is left of them after a first fifth and at the end."""
    process = psutil.Process()
    came: collections.Counter[str] = collections.Counter()
    slowest = 0.0
    left: list[dict[str, int]] = []
    for number, (body, config) in enumerate(Mutator(seed), 1):
        began = time.thread_time()
        try:
            came[attempt(body, config)] += 1
        except Exception as error:
            raise RuntimeError(f"body {number} of seed {seed}, said to be {config}: {body.hex()}") from error
        slowest = max(slowest, time.thread_time() - began)
        if number in {count // 5, count}:
            left.append(
                {
                    "memory": process.memory_info().rss,
                    "files": process.num_fds(),
                    "threads": process.num_threads(),
                    "children": len(process.children()),
                }
            )
        if number == count:
            break
    return {"came": came, "first": left[0], "last": left[1], "slowest_s": slowest}


if __name__ == "__main__":
    print(json.dumps(run(int(sys.argv[1]), int(sys.argv[2]))))
