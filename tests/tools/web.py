"""A web server of a few lines, which answers as a test says and remembers what it was asked."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from ssl import SSLContext


@dataclass(frozen=True)
class Asked:
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    writer: asyncio.StreamWriter


@dataclass
class Web:
    """The server: `asked` are its requests so far, `left` is set when a client hangs up early."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


Answer = Callable[[Asked], Awaitable[bytes]]


def answer(body: bytes | str = b"", status: str = "200 OK", **headers: str) -> bytes:
    content = body.encode() if isinstance(body, str) else body
    named = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    head = "".join(f"{name}: {text}\r\n" for name, text in named.items())
    return f"HTTP/1.1 {status}\r\n{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


@asynccontextmanager
async def web(answering: Answer, certificate: SSLContext | None = None) -> AsyncGenerator[Web]:
    made = Web()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                method, target, _ = head[0].split(" ")
                headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in head[1:-2])}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                asked = Asked(method, target, headers, body, writer)
                made.asked.append(asked)
                talk = asyncio.ensure_future(answering(asked))
                gone = asyncio.ensure_future(reader.read(1))
                await asyncio.wait({talk, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not talk.done():
                    talk.cancel()
                    made.left.set()
                    break
                gone.cancel()
                with suppress(asyncio.CancelledError):
                    await gone
                writer.write(talk.result())
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=certificate)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
