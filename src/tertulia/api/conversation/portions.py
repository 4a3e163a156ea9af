"""Answers with the sound of a recording, or a range of it, in portions: RFC 9110, section 14."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tertulia.storage.recording import StoredRecording

PORTION_BYTES = 1 << 16
"""The bytes of a recording that are in memory for one reader."""

READER_STALL_S = 60.0
"""Seconds after which a reader who takes nothing of a recording is cut off."""

ReadRange = Callable[[int, int], Awaitable[bytes]]
"""Reads a recording from its first to its last byte, both included."""

_RANGE = re.compile(r"(?i:bytes)=(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Portion:
    """The bytes of a recording that a request asks for: `first` to `last`, both included; none if `last` is before."""

    status: int
    first: int
    last: int
    headers: Mapping[str, str]


def part_of(recording: StoredRecording, headers: Headers) -> Portion:
    """Read what a request asks for. Return all of a recording, or the one range of it; other ranges count as none."""
    size = recording.size
    whole = Portion(200, 0, size - 1, {})
    found = _RANGE.fullmatch(headers.get("range", "").strip())
    if found is None or headers.get("if-range", "").strip() not in {"", etag(recording)}:
        return whole
    if found["first"]:
        first, last = int(found["first"]), min(int(found["last"] or size), size - 1)
        if found["last"] and int(found["last"]) < first:
            return whole
    elif found["last"]:
        first, last = max(0, size - int(found["last"])), size - 1
    else:
        return whole
    if first > last:
        return Portion(416, 0, -1, {"Content-Range": f"bytes */{size}"})
    return Portion(206, first, last, {"Content-Range": f"bytes {first}-{last}/{size}"})


def etag(recording: StoredRecording) -> str:
    """Name the content of a recording, which never changes. Return its entity tag."""
    return f'"{recording.message_id}"'


class RecordingResponse(Response):
    """A response that reads a part of a recording from the database while its reader takes it.

    `read` reads a portion; no transaction is open while the reader takes it. `place` is the reader's place among those
    of the recording.
    """

    def __init__(
        self, recording: StoredRecording, part: Portion, read: ReadRange, place: AbstractContextManager[None]
    ) -> None:
        self.status_code = part.status
        self.background = None
        self._read = read
        self._part = part
        self._place = place
        self.init_headers(
            {
                "Accept-Ranges": "bytes",
                "Cache-Control": "private",
                "Content-Disposition": "inline",
                "Content-Length": str(part.last + 1 - part.first),
                "Content-Type": recording.content_type,
                "ETag": etag(recording),
                "X-Content-Type-Options": "nosniff",
                **part.headers,
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the part.

        Raises:
            TooManyRequests: all places are taken.
            TimeoutError: the reader has taken nothing for too long.
            NotFound: the recording is removed meanwhile.
        """
        with self._place:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            for first in range(self._part.first, self._part.last + 1, PORTION_BYTES):
                last = min(first + PORTION_BYTES - 1, self._part.last)
                portion = await self._read(first, last)
                async with asyncio.timeout(READER_STALL_S):
                    await send({"type": "http.response.body", "body": portion, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
