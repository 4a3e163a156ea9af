"""A server of OpenAI's chat completions that costs next to nothing: a reply's pieces were encoded beforehand.

The user's last message says which reply: `Say 2000 together.` is that many pieces in large writes, `Say 2000 apart.`
a write, and so a chunk, for each, as fast as they go; `Say 2000 paced.` waits a little before each. Anything else is
answered with 20. `Say the time.` is two sentences, the second of which is when the first was whole, in microseconds of
the machine's monotonic clock. Run as `python -m bench.fake_model`; it says where it answers as Tertulia does.
"""

import asyncio
import json
import re
import sys
import time
from collections.abc import Sequence

import uvloop

from tertulia.providers.models import schema as schemas

WRITE_BYTES = 1 << 14
PACE_S = 0.0005
FIRST_SENTENCE = "Good evening, and welcome to our little circle of readers."
_ASKED = re.compile(rb"Say (\d+) (together|apart|paced)\.")
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_END = b"0\r\n\r\n"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the requests of one connection."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            found = _LENGTH.search(head)
            body = await reader.readexactly(int(found[1]) if found else 0)
            request = json.loads(body)
            if request.get("stream"):
                await _stream(writer, body)
            else:
                writer.write(_choice(request))
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _stream(writer: asyncio.StreamWriter, body: bytes) -> None:
    if b"Say the time." in body:
        await _tell_the_time(writer)
        return
    asked = _ASKED.findall(body)
    count, how = asked[-1] if asked else (b"20", b"together")
    events = [_event(number) for number in range(int(count))] + [_LAST]
    writer.write(_STREAM_HEAD)
    if how == b"together":
        size = WRITE_BYTES // len(events[0])
        for at in range(0, len(events), size):
            writer.write(_chunk(b"".join(events[at : at + size])))
            await writer.drain()
    else:
        for event in events:
            writer.write(_chunk(event))
            await asyncio.sleep(PACE_S if how == b"paced" else 0)
    writer.write(_END)
    await writer.drain()


async def _tell_the_time(writer: asyncio.StreamWriter) -> None:
    writer.write(_STREAM_HEAD)
    for word in FIRST_SENTENCE.split():
        writer.write(_chunk(_piece(word if word.endswith(".") else f"{word} ")))
        await asyncio.sleep(PACE_S)
    writer.write(_chunk(_piece(f" It is {time.monotonic_ns() // 1000}.")))
    writer.write(_chunk(_LAST))
    writer.write(_END)
    await writer.drain()


def _event(number: int) -> bytes:
    return _piece(f"word{number % 1000:03} ")


def _piece(text: str) -> bytes:
    return _data({"index": 0, "delta": {"content": text}, "logprobs": None, "finish_reason": None})


def _data(choice: dict[str, object]) -> bytes:
    chunk = {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "x",
        "choices": [choice],
    }
    return f"data: {json.dumps(chunk)}\n\n".encode()


_LAST = _data({"index": 0, "delta": {}, "logprobs": None, "finish_reason": "stop"}) + b"data: [DONE]\n\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _choice(request: dict[str, dict[str, dict[str, dict[str, object]]]]) -> bytes:
    """A whole completion: a value of the schema that was asked for."""
    schema = request["response_format"]["json_schema"]["schema"]
    content = json.dumps(schemas.example(schema, _pick, ("Yes.", "No.", "Why?")))
    message = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}
    body = json.dumps({"id": "x", "object": "chat.completion", "model": "x", "choices": [message]}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def _pick(keys: Sequence[object]) -> object:
    """An action, where there is one: the conversation stays where it is."""
    return next((key for key in keys if str(key).startswith("action-")), keys[0])


async def _serve() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=1 << 20)
    host, port = server.sockets[0].getsockname()
    print(f"The fake model answers on http://{host}:{port}", flush=True)
    await server.serve_forever()


def main() -> None:
    try:
        uvloop.run(_serve())
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
