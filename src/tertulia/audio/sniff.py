"""What a recording is, by its first bytes (as each format's own document gives them)."""

from typing import Literal

Kind = Literal["wav", "ogg", "flac", "webm", "mp3"]

NAMES: dict[Kind, str] = {
    "wav": "a WAV file",
    "ogg": "an Ogg file",
    "flac": "a FLAC file",
    "webm": "a WebM file",
    "mp3": "an MP3 file",
}
_MAGIC: dict[bytes, Kind] = {b"OggS": "ogg", b"fLaC": "flac", b"\x1a\x45\xdf\xa3": "webm"}

_MOST_TAGS = 8
_MP3_SEARCH = 4096  # bytes; more than two frames, so that a stream that was joined in the middle is found
_MP3_KBITS = {
    1: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_RATES = (44_100, 48_000, 32_000)


def name_of(body: bytes) -> Kind | None:
    """The kind, where the first bytes leave no doubt. MP3 without a tag does: its frames begin as quiet samples may."""
    if body[:4] == b"RIFF" and body[8:12] == b"WAVE":
        return "wav"
    start = _after_tags(body)
    return _MAGIC.get(body[start : start + 4]) or ("mp3" if start else None)


def is_mp3(body: bytes) -> bool:
    """Whether MP3 frames are at the beginning, or begin soon."""
    return _first_frame(body, 0) is not None


def start_of(body: bytes, kind: Kind) -> int:
    """Where the sound's own data begins: behind tags, which may hold pictures, and broken MP3 frames."""
    start = _after_tags(body)
    frame = _first_frame(body, start) if kind == "mp3" else None
    return start if frame is None else frame


def _after_tags(body: bytes) -> int:
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


def _first_frame(body: bytes, start: int) -> int | None:
    """The first MPEG Layer III frame that another one, or the end, follows."""
    for position in range(start, min(start + _MP3_SEARCH, len(body) - 3)):
        if body[position] == 0xFF and (length := _frame_length(body[position : position + 4])):
            following = position + length
            if following + 4 > len(body) or _frame_length(body[following : following + 4]):
                return position
    return None


def _frame_length(header: bytes) -> int:
    """Bytes of an MPEG-1, -2 or -2.5 Layer III frame (ISO 11172-3, 2.4.2.3); 0 where this is no header."""
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    kbits, rate = header[2] >> 4, header[2] >> 2 & 3
    if header[0] != 0xFF or header[1] < 0xE0 or version == 1 or layer != 1 or kbits in {0, 15} or rate == 3:
        return 0
    mpeg1 = version == 3
    hertz = _MP3_RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    bits = _MP3_KBITS[1 if mpeg1 else 2][kbits - 1] * 1000
    return (144 if mpeg1 else 72) * bits // hertz + (header[2] >> 1 & 1)
