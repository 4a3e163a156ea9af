"""A vendor's HTTP server on loopback that answers as it is told, byte for byte, and keeps what it was asked."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from python_multipart import FormParser

from providers.chat_server import Answer, chunked


@dataclass(frozen=True)
class Request:
    line: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def form(self) -> dict[str, bytes]:
        """The fields of a multipart body, files too."""
        found: dict[str, bytes] = {}

        def on_file(part: Any) -> None:
            part.file_object.seek(0)
            found[part.field_name.decode()] = part.file_object.read()

        def on_field(part: Any) -> None:
            found[part.field_name.decode()] = part.value

        kind, _, boundary = self.headers["content-type"].partition("; boundary=")
        parser = FormParser(kind, on_field, on_file, boundary=boundary)
        parser.write(self.body)
        parser.finalize()
        return found


@dataclass
class VendorServer:
    """`answers` are given in turn, the last one again and again."""

    answers: list[Answer]
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    _serving: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            await self._serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.closed.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers requests; a client that leaves ends the answer."""
        coming = asyncio.create_task(_request(reader))
        try:
            while True:
                self.requests.append(await coming)
                coming = asyncio.create_task(_request(reader))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                answering = asyncio.ensure_future(answer(writer))
                await asyncio.wait({answering, coming}, return_when=asyncio.FIRST_COMPLETED)
                if not answering.done():
                    answering.cancel()
                    return
                answering.result()
                await writer.drain()
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    async def end(self) -> None:
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)


async def _request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    line, *rest = head.strip().split("\r\n")
    headers = {name.lower(): value for name, value in (header.split(": ", 1) for header in rest)}
    return Request(line, headers, await reader.readexactly(int(headers.get("content-length", 0))))


@asynccontextmanager
async def vendor_server(*answers: Answer) -> AsyncGenerator[VendorServer]:
    vendor = VendorServer(list(answers))
    server = await asyncio.start_server(vendor.serve, "127.0.0.1", 0, limit=1 << 22)
    vendor.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield vendor
    finally:
        server.close()
        await vendor.end()


def streams(*parts: bytes, kind: str = "audio/pcm", end: bytes = b"0\r\n\r\n", hangs: bool = False) -> Answer:
    """A body in parts. Without its `end` it is cut off there, or goes on for ever without another byte."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for part in parts:
            writer.write(chunked(part))
            await writer.drain()
            await asyncio.sleep(0)
        if hangs:
            await asyncio.Event().wait()
        writer.write(end)
        if not end:
            await writer.drain()
            writer.close()

    return answer
