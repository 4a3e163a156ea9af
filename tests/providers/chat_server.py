"""A server of OpenAI's chat completions on loopback that answers as it is told, byte for byte."""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from queue import Queue
from typing import Any

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]
Decide = Callable[[dict[str, Any]], Answer]
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"


@dataclass
class ChatServer:
    """`answers` are given in turn, the last one again and again; with `decide`, each request has the answer that it
    gives. `requests` are the bodies received.
    """

    answers: list[Answer] = field(default_factory=list)
    decide: Decide | None = None
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[bytes] = field(default_factory=list)
    connections: int = 0
    open: dict[asyncio.Event, asyncio.StreamWriter] = field(default_factory=dict)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        ended = asyncio.Event()
        self.open[ended] = writer
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                self.headers.append(head)
                self.requests.append(json.loads(await reader.readexactly(length)))
                await self._answer()(writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.closed.set()
            ended.set()

    def _answer(self) -> Answer:
        if self.decide is not None:
            return self.decide(self.requests[-1])
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@asynccontextmanager
async def chat_server(*answers: Answer, decide: Decide | None = None) -> AsyncGenerator[ChatServer]:
    chat = ChatServer(list(answers), decide)
    server = await asyncio.start_server(chat.serve, "127.0.0.1", 0, limit=1 << 22)
    chat.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield chat
    finally:
        server.close()
        for ended, writer in chat.open.items():
            writer.close()
            await ended.wait()


@contextmanager
def chat_server_beside(*answers: Answer, decide: Decide | None = None) -> Generator[ChatServer]:
    """The same in a thread of its own, for tests that block."""
    started: Queue[tuple[ChatServer, asyncio.AbstractEventLoop, asyncio.Event]] = Queue()

    async def run() -> None:
        async with chat_server(*answers, decide=decide) as chat:
            ended = asyncio.Event()
            started.put((chat, asyncio.get_running_loop(), ended))
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run()), name="chat-server", daemon=True)
    thread.start()
    chat, loop, ended = started.get()
    try:
        yield chat
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(content: str | None, finish_reason: str | None = None) -> bytes:
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


def data(value: object) -> bytes:
    """An event with any JSON."""
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def streams(*events: bytes) -> Answer:
    """A streamed reply of these events, byte for byte."""
    return replies(done=b"".join(events))


DONE = b"data: [DONE]\n\n"


def in_room(chars: int, reply: str, refusal: Answer) -> Decide:
    """A server that refuses prompts of more than so many characters; choices take the first key."""

    def decide(request: dict[str, Any]) -> Answer:
        if sum(len(message["content"]) for message in request["messages"]) > chars:
            return refusal
        if request["stream"]:
            return replies(reply)
        schema = request["response_format"]["json_schema"]["schema"]
        return completes(json.dumps({"choice": schema["properties"]["choice"]["enum"][0]}))

    return decide


def replies(*pieces: str, done: bytes = b"data: [DONE]\n\n", each: int = 0, head: bytes = HEAD) -> Answer:
    """A streamed reply, in parts of `each` bytes where that is not 0."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        data = b"".join(event(piece) for piece in pieces) + done
        size = each or len(data) or 1
        writer.write(head + b"\r\n")
        for start in range(0, len(data), size):
            writer.write(chunked(data[start : start + size]))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    return answer


def sends(body: bytes, status: str = "200 OK", headers: bytes = b"") -> Answer:
    """A whole response."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status.encode(), headers, len(body), body))

    return answer


def completes(text: str) -> Answer:
    """A completion that is not streamed."""
    return sends(
        json.dumps({"choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]}).encode()
    )


def breaks_off(*pieces: str) -> Answer:
    """A streamed reply whose connection is cut."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"\r\n" + b"".join(chunked(event(piece)) for piece in pieces))
        await writer.drain()
        writer.close()

    return answer


def hangs(*pieces: str, sign_of_life: bytes = b"") -> Answer:
    """A streamed reply that goes on for ever without a further piece."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"\r\n" + b"".join(chunked(event(piece)) for piece in pieces))
        while not writer.is_closing():
            if sign_of_life:
                writer.write(chunked(sign_of_life))
            await writer.drain()
            await asyncio.sleep(0.02)

    return answer


def floods(data: bytes) -> Answer:
    """The same bytes again and again, until the client leaves."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + b"\r\n")
        while not writer.is_closing():
            writer.write(chunked(data))
            await writer.drain()

    return answer
