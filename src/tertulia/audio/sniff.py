"""What a recording is, by its first bytes (as each format's own document gives them)."""

from typing import Literal

from tertulia.audio.frames import after_tags, mp3_frames

Kind = Literal["wav", "ogg", "flac", "webm", "mp3"]

NAMES: dict[Kind, str] = {
    "wav": "a WAV file",
    "ogg": "an Ogg file",
    "flac": "a FLAC file",
    "webm": "a WebM file",
    "mp3": "an MP3 file",
}
_MAGIC: dict[bytes, Kind] = {b"OggS": "ogg", b"fLaC": "flac", b"\x1a\x45\xdf\xa3": "webm"}


def certain_kind(body: bytes) -> Kind | None:
    """The kind, where the first bytes leave no doubt. MP3 without a tag does: its frames begin as quiet samples may."""
    if body[:4] == b"RIFF" and body[8:12] == b"WAVE":
        return "wav"
    start = after_tags(body)
    return _MAGIC.get(body[start : start + 4]) or ("mp3" if start else None)


def likely_kind(body: bytes) -> Kind | None:
    """The kind, where the body is none of bare samples."""
    return certain_kind(body) or ("mp3" if mp3_frames(body) else None)
