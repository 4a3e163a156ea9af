"""Outlines of spoken streams: the lines without the sound that is in the reply's recording.

The sound of a spoken turn is stored once, as a recording. Its stream is kept as an outline beside a list of cuts, the
places at which pieces of the recording were in base64; put back, they make the same stream, byte for byte. Sound that
is not in the recording, as that which an interrupted listener did not hear, stays in the outline.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tertulia import events
from tertulia.storage.turn.values import Recording

_HEADER_BYTES = {"audio/wav": 44, "audio/mpeg": 0}
"""The bytes before the sound in a recording of a reply: the header of WAV with PCM alone."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A piece of sound that belongs before the byte `at` of an outline: `size` bytes from the byte `first`."""

    at: int
    first: int
    size: int


@dataclass(frozen=True, slots=True)
class Outline:
    """The lines of a stream; of a spoken one without the sound, which is in the recording of the message."""

    lines: bytes
    message_id: str | None = None
    cuts: Sequence[Cut] = ()

    @property
    def sound(self) -> dict[str, Any] | None:
        """The cuts as a document of the database; None if there are none."""
        if not self.cuts:
            return None
        cuts = [number for cut in self.cuts for number in (cut.at, cut.first, cut.size)]
        return {"message_id": self.message_id, "cuts": cuts}

    @classmethod
    def of(cls, lines: bytes, sound: Mapping[str, Any] | None) -> "Outline":
        """Make an outline of its lines and the document of its cuts. Return it."""
        if sound is None:
            return cls(lines)
        numbers: Sequence[int] = sound["cuts"]
        cuts = tuple(Cut(*numbers[at : at + 3]) for at in range(0, len(numbers), 3))
        return cls(lines, sound["message_id"], cuts)


def outline(stream: bytes, recording: Recording) -> Outline:
    """Take the sound of a recording out of a stream, as far as the stream has it in this order. Return the outline."""
    lines = bytearray()
    cuts: list[Cut] = []
    first = _HEADER_BYTES[recording.content_type]
    for line in stream.splitlines(keepends=True):
        start, end = events.text_of_piece(line, recording.message_id)
        size = _decoded_size(line[start:end])
        if size and base64.b64encode(recording.body[first : first + size]) == line[start:end]:
            lines += line[:start]
            cuts.append(Cut(len(lines), first, size))
            lines += line[end:]
            first += size
        else:
            lines += line
    return Outline(bytes(lines), recording.message_id, tuple(cuts))


def fill(lines: bytes, begins: int, cuts: Sequence[Cut], sound: bytes) -> bytes:
    """Put sound back into a part of an outline that begins at the byte `begins`. Return the part of the stream.

    `sound` is that of the part's cuts, one after the other.
    """
    filled, copied, used = bytearray(), 0, 0
    for cut in cuts:
        filled += lines[copied : cut.at - begins]
        filled += base64.b64encode(sound[used : used + cut.size])
        copied, used = cut.at - begins, used + cut.size
    return bytes(filled + lines[copied:])


def _decoded_size(encoded: bytes) -> int:
    return len(encoded) // 4 * 3 - encoded[-2:].count(b"=")
