"""MP3, FLAC and AAC without tags, whose pictures and endless comments FFmpeg would look at."""

from collections.abc import Iterator

_MOST_TAGS = 8
_MP3_SEARCH = 4096  # bytes; more than two frames, so that a stream that was joined in the middle is found
_MP3_KBITS = {
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_RATES = (44_100, 48_000, 32_000)
_STREAMINFO = 34  # bytes
_MOST_BLOCKS = 1000


def after_tags(body: bytes) -> int:
    """Behind the ID3v2 tags (id3.org/id3v2.4.0-structure): a header of ten bytes, its length in 4 times 7 bits."""
    start = 0
    for _ in range(_MOST_TAGS):
        if body[start : start + 3] != b"ID3" or not _is_tag(body[start : start + 10]):
            break
        a, b, c, d = body[start + 6 : start + 10]
        start += 10 + (a << 21 | b << 14 | c << 7 | d)
    return start


def _is_tag(header: bytes) -> bool:
    return len(header) == 10 and header[3] in range(2, 5) and not header[5] & 0x0F and max(header[6:]) < 0x80


def flac_frames(body: bytes) -> bytes | None:
    """Strip a FLAC file (RFC 9639) of all metadata but the first block, which tells the form. Return the file."""
    start = body.find(b"fLaC", after_tags(body)) + 4
    info = body[start + 4 : start + 4 + _STREAMINFO]
    for _ in range(_MOST_BLOCKS):
        if start + 4 > len(body):
            break
        head = body[start]
        start += 4 + int.from_bytes(body[start + 1 : start + 4])
        if head & 0x80:
            return b"fLaC\x80" + _STREAMINFO.to_bytes(3) + info + body[start:]
    return None


def mp3_frames(body: bytes) -> bytes | None:
    """Find the first MPEG Layer III frame that another one, or the end, follows. Return the file from there."""
    start = after_tags(body)
    for place in range(start, min(start + _MP3_SEARCH, len(body) - 3)):
        if body[place] == 0xFF and (length := mp3_frame_length(body[place : place + 4])):
            following = place + length
            if following + 4 > len(body) or mp3_frame_length(body[following : following + 4]):
                return body[place:]
    return None


def mp3_frame_length(header: bytes) -> int:
    """Read the header of an MPEG-1, -2 or -2.5 Layer III frame (ISO 11172-3, 2.4.2.3).

    Return the frame's length in bytes, 0 if this is no header.
    """
    if len(header) < 4:
        return 0
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    kbits, rate = header[2] >> 4, header[2] >> 2 & 3
    if header[0] != 0xFF or header[1] < 0xE0 or version == 1 or layer != 1 or kbits in {0, 15} or rate == 3:
        return 0
    mpeg1 = version == 3
    hertz = _MP3_RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    bits = _MP3_KBITS[1 if mpeg1 else 2][kbits - 1] * 1000
    return (144 if mpeg1 else 72) * bits // hertz + (header[2] >> 1 & 1)


def aac_frame_length(header: bytes) -> int:
    """Read the header of an AAC frame in ADTS (ISO 13818-7, 6.2).

    Return the frame's length in bytes, 0 if this is no header.
    """
    if len(header) < 7 or header[0] != 0xFF or header[1] & 0xF6 != 0xF0:
        return 0
    length = (header[3] & 0x03) << 11 | header[4] << 3 | header[5] >> 5
    return length if length > 7 and header[2] >> 2 & 0x0F < 13 else 0


def aac_frames(body: bytes, most: int) -> Iterator[bytes]:
    """Find the AAC frames of an ADTS stream, each with its header, up to `most`. Return them one by one.

    What was damaged between two frames is passed over.
    """
    place = after_tags(body)
    while most > 0:
        place = body.find(b"\xff", place)
        if place < 0:
            return
        length = aac_frame_length(body[place : place + 8])
        following = place + length
        if not length or (following + 8 <= len(body) and not aac_frame_length(body[following : following + 8])):
            place += 1
            continue
        yield body[place:following]
        place = following
        most -= 1
    raise TooManyFrames


class TooManyFrames(Exception):
    """A body of more frames than any recording has."""
