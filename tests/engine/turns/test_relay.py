"""Messages of strangers to a worker."""

import asyncio
from typing import Any

import pytest

from tertulia.engine.turns.relay import Relay

ASKED = b'{"request":{"verb":"cancel","interaction_id":"a","after":0,"at":%d},"signature":"%s"}\n'


@pytest.mark.parametrize("line", [b"\n", b"GET / HTTP/1.1\n", ASKED % (0, b"x"), ASKED % (2**40, "é".encode())])
async def test_what_is_not_signed_gets_no_answer_and_breaks_nothing(
    line: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: broken.append(context))
    monkeypatch.setattr("tertulia.engine.turns.relay.MAX_AGE_S", 2**41)
    relay = Relay(b"key", lambda _interaction_id: pytest.fail("it was believed"))
    host, _, port = (await relay.open("127.0.0.1")).rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(line)
    assert await reader.read() == b""
    writer.close()
    await relay.close()
    assert broken == []
