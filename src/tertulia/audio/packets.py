"""Packets of Opus and Vorbis in Ogg and WebM files, read by hand; FFmpeg's decoders take them from there.

FFmpeg's own readers know dozens of codings, compressed tracks that grow a thousandfold, and more. What recorders write
needs a few lines. Ogg: RFC 3533 and 7845, and the Vorbis I specification. WebM: RFC 8794 (EBML) and 9559 (Matroska).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_OPUS, _OPUS_TAGS = b"OpusHead", b"OpusTags"
_VORBIS, _VORBIS_SETUP = b"\x01vorbis", b"\x05vorbis"
_MOST_CODEBOOKS = 64  # encoders make 30 to 50; each may take half a megabyte, and 256 would fit in five kilobytes
_CONTINUED = 0x01


class NotReadable(Exception):
    """A body that cannot be read; the text says why, for the caller."""


@dataclass(frozen=True, slots=True)
class PacketFile:
    """The packets of a file, as far as it goes. `head` is FFmpeg's "extradata": what its decoder is told first."""

    codec: Literal["opus", "vorbis", "aac"]
    head: bytes
    packets: Iterator[bytes]


def read_ogg(body: bytes, most: int) -> PacketFile:
    """The first stream of sound, from at most so many packets. Checksums are not looked at: decoders bear anything."""
    packets = _ogg_packets(body, most)
    first = next(packets, b"")
    if first.startswith(_OPUS):
        return PacketFile("opus", first, (packet for packet in packets if not packet.startswith(_OPUS_TAGS)))
    comments, setup = next(packets, b""), next(packets, b"")
    if not first or not setup.startswith(_VORBIS_SETUP) or setup[7:8] > bytes([_MOST_CODEBOOKS - 1]):
        raise NotReadable("there is no Opus or Vorbis in it")
    return PacketFile("vorbis", b"\x02" + _laced(first) + _laced(comments) + first + comments + setup, packets)


def _laced(packet: bytes) -> bytes:
    """Write a packet's length as Ogg does. Return the bytes."""
    return b"\xff" * (len(packet) // 255) + bytes([len(packet) % 255])


def _ogg_packets(body: bytes, most: int) -> Iterator[bytes]:
    serial = None
    partial = bytearray()
    for flags, page_serial, pieces in _ogg_pages(body, most):
        if serial is None and pieces and pieces[0].startswith((_OPUS, _VORBIS)):
            serial = page_serial
        if page_serial != serial:
            continue
        if not flags & _CONTINUED:
            partial.clear()
        for piece in pieces[:-1]:
            yield bytes(partial) + piece
            partial.clear()
        partial += pieces[-1]


def _ogg_pages(body: bytes, most: int) -> Iterator[tuple[int, bytes, list[bytes]]]:
    """The pages: flags, serial number, and the packets' pieces, of which the last one goes on in the next page."""
    start = 0
    while most > 0:
        start = body.find(b"OggS", start)
        if start < 0 or start + 27 > len(body):
            return
        head = start + 27 + body[start + 26]
        pieces: list[bytes] = []
        piece = end = head
        for length in body[start + 27 : head]:
            end += length
            if end > len(body):
                break  # cut off
            if length < 255:
                pieces.append(body[piece:end])
                piece = end
        yield body[start + 5], body[start + 14 : start + 18], [*pieces, body[piece:end]]
        start = max(start + 4, end)
        most -= 1 + len(pieces)
    raise NotReadable("it is cut into too many packets")


_SEGMENT, _CLUSTER, _BLOCK_GROUP = 0x18538067, 0x1F43B675, 0xA0
_TRACKS, _TRACK, _AUDIO = 0x1654AE6B, 0xAE, 0xE1
_MASTERS = {_SEGMENT, _CLUSTER, _BLOCK_GROUP, _TRACKS, _TRACK, _AUDIO}
_TRACK_NUMBER, _CODEC, _CODEC_PRIVATE, _ENCODINGS = 0xD7, 0x86, 0x63A2, 0x6D80
_BLOCKS = {0xA3, 0xA1}
_LACING = 0x06


def read_webm(body: bytes, most: int) -> PacketFile:
    """Read the first track of Opus from at most `most` elements. Return its packets."""
    elements = _elements(body, most)
    number, head = _opus_track(elements)
    return PacketFile("opus", head, _webm_packets(elements, number))


def _opus_track(elements: Iterator[tuple[int, bytes]]) -> tuple[int, bytes]:
    track: dict[int, bytes] = {}
    for name, data in elements:
        if name in {_TRACK, _CLUSTER}:
            if track.get(_CODEC, b"").rstrip(b"\0") == b"A_OPUS":
                break
            track = {}
        if name == _CLUSTER:
            raise NotReadable("there is no Opus in it")
        track[name] = data
    number, head = track.get(_TRACK_NUMBER, b""), track.get(_CODEC_PRIVATE, b"")
    if _ENCODINGS in track:
        raise NotReadable("its packets are compressed or encrypted")
    if not head.startswith(_OPUS) or not number:
        raise NotReadable("there is no Opus in it")
    return int.from_bytes(number), head


def _webm_packets(elements: Iterator[tuple[int, bytes]], number: int) -> Iterator[bytes]:
    for name, data in elements:
        if name in _BLOCKS and (read := _number(data, 0)) and read[0] == number and len(data) >= read[1] + 3:
            if data[read[1] + 2] & _LACING:
                raise NotReadable("several packets share a block")
            yield data[read[1] + 3 :]


def _elements(body: bytes, most: int) -> Iterator[tuple[int, bytes]]:
    """Yield all elements in their order. An element that holds others is empty, and those follow it."""
    place = 0
    for _ in range(most):
        if place >= len(body):
            return
        length = _width(body[place])
        name = int.from_bytes(body[place : place + length])
        read = _number(body, place + length)
        if read is None:
            return
        size, place = read
        if name in _MASTERS:
            yield name, b""
            continue
        if place + size > len(body):
            return  # cut off
        yield name, body[place : place + size]
        place += size
    raise NotReadable("it is cut into too many elements")


def _number(body: bytes, place: int) -> tuple[int, int] | None:
    """Read a number of 1 to 8 bytes, whose first 1 bit tells their count. Return the number and its end."""
    width = _width(body[place]) if place < len(body) else 9
    if place + width > len(body):
        return None
    return int.from_bytes(body[place : place + width]) & (1 << 7 * width) - 1, place + width


def _width(first: int) -> int:
    return 9 - first.bit_length()
