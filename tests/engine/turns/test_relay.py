"""Messages of strangers to a worker."""

import asyncio
from typing import Any

import pytest

from tertulia import events
from tertulia.engine.turns.patience import Patience
from tertulia.engine.turns.relay import Relay, follow_at
from tertulia.engine.turns.turn import Turn, no_actions
from tertulia.errors import Unavailable

NOBODY: Any = None

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


async def test_a_log_is_deserted_when_its_last_reader_has_left_wherever_that_one_was() -> None:
    turn = Turn(NOBODY, NOBODY, no_actions, Patience(60, 900))
    turn.tell(events.ConversationCreated("a" * 24))
    relay = Relay(b"key", lambda _interaction_id: turn)
    address = await relay.open("127.0.0.1")
    deserted = asyncio.create_task(turn.log.deserted(0))
    remote = await follow_at(address, b"key", "b" * 24, 0)
    assert remote is not None
    assert b"conversation-created" in await remote.read()
    here = turn.log.follow()
    assert await anext(here) == b"", "the reader is asked to watch its client"

    remote.close()
    await asyncio.wait([deserted], timeout=0.05)
    assert not deserted.done(), "one is still here"
    await here.aclose()
    await asyncio.wait_for(deserted, 30)
    await relay.close()


async def test_a_reader_who_is_back_in_time_keeps_a_log_from_being_deserted() -> None:
    turn = Turn(NOBODY, NOBODY, no_actions, Patience(60, 900))
    turn.tell(events.ConversationCreated("a" * 24))
    first, second = turn.log.follow(), turn.log.follow()
    await anext(first)
    deserted = asyncio.create_task(turn.log.deserted(0))
    await asyncio.sleep(0)
    await first.aclose()
    await anext(second)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not deserted.done()
    await second.aclose()
    await asyncio.wait_for(deserted, 30)
