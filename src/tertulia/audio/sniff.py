"""Formats of recordings, told by their first bytes (as each format's own document gives them)."""

from typing import Literal

from tertulia.audio.frames import aac_frame_length, after_tags, mp3_frames

Kind = Literal["wav", "ogg", "flac", "webm", "mp3", "mp4", "aac"]

NAMES: dict[Kind, str] = {
    "wav": "a WAV file",
    "ogg": "an Ogg file",
    "flac": "a FLAC file",
    "webm": "a WebM file",
    "mp3": "an MP3 file",
    "mp4": "an MP4 file",
    "aac": "an AAC file",
}
_MAGIC: dict[bytes, Kind] = {b"OggS": "ogg", b"fLaC": "flac", b"\x1a\x45\xdf\xa3": "webm"}


_MP4_BOXES = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip")


def certain_kind(body: bytes) -> Kind | None:
    """Look at the first bytes. Return the kind that they can only be, or None.

    MP3 and AAC without a tag are not certain: their frames begin as quiet samples may.
    """
    if body[:4] == b"RIFF" and body[8:12] == b"WAVE":
        return "wav"
    if body[4:8] in _MP4_BOXES and body[:2] == b"\0\0":
        return "mp4"
    start = after_tags(body)
    if magic := _MAGIC.get(body[start : start + 4]):
        return magic
    return ("aac" if aac_frame_length(body[start : start + 8]) else "mp3") if start else None


def likely_kind(body: bytes) -> Kind | None:
    """Look at the first bytes of a body that is none of bare samples. Return its kind, or None."""
    if kind := certain_kind(body):
        return kind
    length = aac_frame_length(body[:8])
    if length and (len(body) <= length + 7 or aac_frame_length(body[length : length + 8])):
        return "aac"
    return "mp3" if mp3_frames(body) else None
