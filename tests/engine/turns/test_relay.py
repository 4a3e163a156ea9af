"""Messages of strangers to a worker."""

import asyncio
from typing import Any

import pytest

from tertulia.engine.turns.relay import Relay, follow_at
from tertulia.errors import Unavailable

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


@pytest.mark.parametrize("words", [b"\xff\xfe\xff\n", b"x" * 100_000 + b"\n", b"yes indeed\n", b""])
async def test_a_stranger_at_the_port_of_a_dead_worker_is_unavailable(words: bytes) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(words)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Unavailable):
            await follow_at(f"127.0.0.1:{port}", b"key", "a" * 24, 0)
