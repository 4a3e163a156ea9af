"""Logs of turns that have ended, as they are read again."""

import json

from tertulia.engine.turns.log import CHUNK_BYTES, RecordedLog
from tertulia.storage.turn.outline import Outline


async def no_sound(_message_id: str, _first: int, _last: int) -> bytes:
    raise AssertionError("there is none")


async def test_every_piece_of_a_long_log_ends_with_a_line() -> None:
    lines = [json.dumps({"number": number, "text": "x" * 999}).encode() + b"\n" for number in range(200)]
    body = b"".join(lines)
    assert len(body) > 2 * CHUNK_BYTES
    for after in (0, 1, 70, 199, 200, 300):
        pieces = [piece async for piece in RecordedLog(Outline(body), no_sound).follow(after)]
        assert b"".join(pieces) == b"".join(lines[after:])
        assert all(piece.endswith(b"\n") for piece in pieces)
        assert max(map(len, pieces), default=0) < CHUNK_BYTES + 2000
