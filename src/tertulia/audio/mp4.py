"""Packets of AAC and Opus in MP4 files, as Safari and phones record them, read by hand like those of Ogg and WebM.

A file may have its tables (`moov`) at either end, or be written as a stream of fragments (`moof`). The boxes are those
of ISO 14496-12, the description of AAC that of ISO 14496-1 (7.2.6), that of Opus
opus-codec.org/docs/opus_in_isobmff.html.
Numbers and places are a stranger's: each is compared with the body before it is used.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tertulia.audio.packets import NotReadable, PacketFile

_MOST_BOXES = 100_000
_SOUND_ENTRY = {0: 36, 1: 52, 2: 72}  # bytes before the boxes of a sample entry, by QuickTime's version
_AAC_TYPES = frozenset({0x40, 0x66, 0x67, 0x68})
_ES, _DECODER_CONFIG, _DECODER_INFO = 0x03, 0x04, 0x05
_BASE_OFFSET, _DESCRIPTION, _DURATION, _SIZE = 0x1, 0x2, 0x8, 0x10
_DATA_OFFSET, _FIRST_FLAGS, _EACH_SIZE = 0x1, 0x4, 0x200
_EACH = (0x100, 0x200, 0x400, 0x800)  # four bytes of each sample for every one of these flags


@dataclass(frozen=True, slots=True)
class _Box:
    name: bytes
    start: int
    """Of the content, behind the header."""
    end: int
    outer: int
    """Of the header."""


@dataclass(frozen=True, slots=True)
class _Track:
    number: int
    codec: Literal["aac", "opus"]
    head: bytes
    table: _Box
    """The `stbl`, of the samples that are in no fragment."""


class _File:
    """A body, and how many boxes of it may still be looked at."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self._left = _MOST_BOXES

    def boxes(self, start: int, end: int) -> Iterator[_Box]:
        """Read the boxes between two places. Return them, the last one as far as it goes. Raises NotReadable."""
        while start + 8 <= end:
            self._left -= 1
            if self._left < 0:
                raise NotReadable("it has too many boxes")
            size, name = struct.unpack_from(">I4s", self.body, start)
            inner = start + 8
            if size == 1 and start + 16 <= end:
                (size,) = struct.unpack_from(">Q", self.body, inner)
                inner += 8
            elif size == 0:
                size = end - start
            if size < inner - start:
                return
            yield _Box(name, inner, min(end, start + size), start)
            start += size

    def within(self, box: _Box | None, *names: bytes) -> _Box | None:
        """Find the first box of each name, within the one before. Return the last, or None."""
        for name in names:
            if box is None:
                return None
            box = next((inner for inner in self.boxes(box.start, box.end) if inner.name == name), None)
        return box

    def number(self, place: int, end: int, size: int = 4) -> int:
        """Read a number of so many bytes. Return it, 0 if it is not whole before `end`."""
        return int.from_bytes(self.body[place : place + size]) if place + size <= end else 0


def read_mp4(body: bytes, most: int) -> PacketFile:
    """Find the first track of AAC or Opus. Return it, with at most so many packets. Raises NotReadable."""
    file = _File(body)
    top = list(file.boxes(0, len(body)))
    movie = next((box for box in top if box.name == b"moov"), None)
    if movie is None:
        raise NotReadable("it has no description of its tracks")
    track = next((found for box in file.boxes(movie.start, movie.end) if (found := _track(file, box))), None)
    if track is None:
        raise NotReadable("there is no AAC or Opus in it")
    return PacketFile(track.codec, track.head, _packets(file, track, _usual_size(file, movie, track), top, most))


def _packets(file: _File, track: _Track, usual: int, top: list[_Box], most: int) -> Iterator[bytes]:
    """Yield the packets in their order, those of the table first. Packets beyond the body are left out."""
    left = len(file.body)
    for start, size in _places(file, track, usual, top):
        most -= 1
        if most < 0:
            raise NotReadable("it is cut into too many packets")
        if size and start >= 0 and start + size <= len(file.body):
            left -= size
            if left < 0:
                raise NotReadable("its packets are in each other's places")
            yield file.body[start : start + size]


def _places(file: _File, track: _Track, usual: int, top: list[_Box]) -> Iterator[tuple[int, int]]:
    yield from _table_places(file, track.table)
    for box in top:
        if box.name == b"moof":
            yield from _fragment_places(file, box, track.number, usual)


# --- Tracks ----------------------------------------------------------------------------------------------------------


def _track(file: _File, box: _Box) -> _Track | None:
    if box.name != b"trak":
        return None
    header = file.within(box, b"tkhd")
    table = file.within(box, b"mdia", b"minf", b"stbl")
    entries = file.within(table, b"stsd")
    if header is None or table is None or entries is None:
        return None
    times_bytes = 16 if file.number(header.start, header.end, 1) == 1 else 8
    number = file.number(header.start + 4 + times_bytes, header.end)
    for entry in file.boxes(entries.start + 8, entries.end):
        version = file.number(entry.start + 8, entry.end, 2)
        inner = _Box(entry.name, entry.outer + _SOUND_ENTRY.get(version, 36), entry.end, entry.outer)
        if entry.name == b"mp4a" and (head := _aac_head(file, inner)):
            return _Track(number, "aac", head, table)
        if entry.name == b"Opus" and (head := _opus_head(file, file.within(inner, b"dOps"))):
            return _Track(number, "opus", head, table)
    return None


def _aac_head(file: _File, entry: _Box) -> bytes:
    """Return the AudioSpecificConfig of an entry; empty if the coding is not AAC."""
    box = file.within(entry, b"esds") or file.within(entry, b"wave", b"esds")
    if box is None:
        return b""
    place, end = box.start + 4, box.end
    for wanted in (_ES, _DECODER_CONFIG, _DECODER_INFO):
        found = _descriptor(file, place, end, wanted)
        if found is None:
            return b""
        place, end = found
        if wanted == _ES:
            flags = file.number(place + 2, end, 1)
            place += 3 + (2 if flags & 0x80 else 0) + (2 if flags & 0x20 else 0)
            if flags & 0x40:
                place += 1 + file.number(place, end, 1)
        elif wanted == _DECODER_CONFIG:
            if file.number(place, end, 1) not in _AAC_TYPES:
                return b""
            place += 13
    return file.body[place:end]


def _descriptor(file: _File, place: int, end: int, wanted: int) -> tuple[int, int] | None:
    """Find the content of a descriptor behind its tag and its length, of one to four bytes. Return both its ends."""
    if file.number(place, end, 1) != wanted:
        return None
    length = 0
    for at in range(place + 1, min(place + 5, end)):
        length = length << 7 | file.body[at] & 0x7F
        if not file.body[at] & 0x80:
            return at + 1, min(end, at + 1 + length)
    return None


def _opus_head(file: _File, box: _Box | None) -> bytes:
    """Make the head of an Ogg file from the box of an MP4 file, whose numbers are big-endian. Return it."""
    if box is None or box.end - box.start < 11:
        return b""
    _version, channels, skip, rate, gain, family = struct.unpack_from(">BBHIhB", file.body, box.start)
    head = b"OpusHead" + struct.pack("<BBHIhB", 1, channels, skip, rate, gain, family)
    return head + file.body[box.start + 11 : box.end]


# --- Places of packets -----------------------------------------------------------------------------------------------


def _table_places(file: _File, table: _Box) -> Iterator[tuple[int, int]]:
    """Read the table of a track. Return the place and the length of each packet that it lists."""
    sizes, groups = file.within(table, b"stsz"), file.within(table, b"stsc")
    chunks, width = file.within(table, b"stco"), 4
    if chunks is None:
        chunks, width = file.within(table, b"co64"), 8
    if sizes is None or groups is None or chunks is None:
        return
    lengths = _lengths(file, sizes)
    per_chunk = _samples_per_chunk(file, groups)
    for number in range(file.number(chunks.start + 4, chunks.end)):
        entry = chunks.start + 8 + number * width
        if entry + width > chunks.end:
            return
        place = file.number(entry, chunks.end, width)
        yield place, 0  # counts the chunk, which may be empty
        for _ in range(next(per_chunk, 0)):
            length = next(lengths, None)
            if length is None:
                return
            yield place, length
            place += length


def _lengths(file: _File, box: _Box) -> Iterator[int]:
    same, count = file.number(box.start + 4, box.end), file.number(box.start + 8, box.end)
    for number in range(count):
        entry = box.start + 12 + 4 * number
        if not same and entry + 4 > box.end:
            return
        yield same or file.number(entry, box.end)


def _samples_per_chunk(file: _File, box: _Box) -> Iterator[int]:
    """Count the packets of each next chunk. Yield the numbers; an entry holds up to the next one."""
    chunk = 1
    for place in range(box.start + 8, box.start + 8 + 12 * file.number(box.start + 4, box.end), 12):
        samples, is_last = file.number(place + 4, box.end), place + 24 > box.end
        until = file.number(place + 12, box.end)
        while is_last or chunk < until:
            yield samples
            chunk += 1


def _usual_size(file: _File, movie: _Box, track: _Track) -> int:
    """Read the length of a packet in a fragment that names none. Return it in bytes."""
    extends = file.within(movie, b"mvex")
    for box in file.boxes(extends.start, extends.end) if extends else ():
        if box.name == b"trex" and file.number(box.start + 4, box.end) == track.number:
            return file.number(box.start + 16, box.end)
    return 0


def _fragment_places(file: _File, fragment: _Box, number: int, usual: int) -> Iterator[tuple[int, int]]:
    """Read a fragment. Return the place and the length of each packet."""
    for part in file.boxes(fragment.start, fragment.end):
        header = file.within(part, b"tfhd") if part.name == b"traf" else None
        if header is None or file.number(header.start + 4, header.end) != number:
            continue
        flags, place = file.number(header.start + 1, header.end, 3), header.start + 8
        base = fragment.outer
        if flags & _BASE_OFFSET:
            base, place = file.number(place, header.end, 8), place + 8
        place += 4 * bool(flags & _DESCRIPTION) + 4 * bool(flags & _DURATION)
        size = file.number(place, header.end) if flags & _SIZE else usual
        runs = [run for run in file.boxes(part.start, part.end) if run.name == b"trun"]
        end = base  # of the packets of a run, behind which the next run's are
        for run in runs:
            for start, length in _run_places(file, run, (base, end), size):
                yield start, length
                end = start + length


def _run_places(file: _File, run: _Box, places: tuple[int, int], size: int) -> Iterator[tuple[int, int]]:
    """Read a run's packets. Return their places; `places` are the origins of a run with an offset, and without one."""
    base, at = places
    flags, count = file.number(run.start + 1, run.end, 3), file.number(run.start + 4, run.end)
    place = run.start + 8
    if flags & _DATA_OFFSET:
        (offset,) = struct.unpack_from(">i", file.body, place) if place + 4 <= run.end else (0,)
        at, place = base + offset, place + 4
    place += 4 * bool(flags & _FIRST_FLAGS)
    step = 4 * sum(bool(flags & each) for each in _EACH)
    before = 4 * bool(flags & _EACH[0])
    for _ in range(count):
        if place + step > run.end:
            return
        length = file.number(place + before, run.end) if flags & _EACH_SIZE else size
        yield at, length
        at, place = at + length, place + step
