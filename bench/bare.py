"""The yardstick: a bare ASGI application that streams the bytes of a recorded answer, one send a line.

It reads the request and does nothing else: no routing, no authentication, no storage. The server below it is the
product's own, with the same options. Run as `python -m bench.bare LINES DELAY_MS [APP]`; other applications are
`create_few`, which sends the lines in FEW sends, and `create_framework`, which does that by FastAPI: a route, its
parameters and its body, and nothing else.
"""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

from tertulia.serving import serve

LINES = "BENCH_BARE_LINES"
DELAY_MS = "BENCH_BARE_DELAY_MS"

PIECE = b'{"type":"new-message"'
LAST_PIECE = b'"stop":true'
HEADERS = [
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
    (b"content-type", b"application/x-ndjson"),
    (b"x-request-id", b"0123456789abcdef"),
]


class Bare:
    """The application: `lines` to stream, a pause of `delay_s` seconds before each piece but the last, empty one."""

    def __init__(self, lines: list[bytes], delay_s: float) -> None:
        self.lines = [(line, delay_s if _is_delayed(line) else 0) for line in lines]

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        while (await receive()).get("more_body", False):
            pass
        await send({"type": "http.response.start", "status": 201, "headers": HEADERS})
        for line, delay_s in self.lines:
            if delay_s:
                await asyncio.sleep(delay_s)
            await send({"type": "http.response.body", "body": line, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _is_delayed(line: bytes) -> bool:
    return line.startswith(PIECE) and LAST_PIECE not in line


FEW = 4
"""The sends of an answer whose lines come together: as many as Tertulia has, about."""


def _joined(lines: list[bytes]) -> list[bytes]:
    size = -(-len(lines) // FEW)
    return [b"".join(lines[at : at + size]) for at in range(0, len(lines), size)]


def create_few() -> Bare:
    """Make the bare application with few sends."""
    return Bare(_joined(_lines()), 0)


def create_framework() -> FastAPI:
    """Make an application of FastAPI alone with a create's signature."""
    app, chunks = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False}), _joined(_lines())

    async def stream() -> AsyncGenerator[bytes]:
        for chunk in chunks:
            yield chunk

    @app.post("/v1/{organization}/conversation/", status_code=201)
    async def create(
        organization: str,
        body: _Create,
        response_format: Literal["text", "voice"],
        authorization: Annotated[str, Header()],
        current_agent_action_type: str = "^.*$",
    ) -> StreamingResponse:
        return StreamingResponse(stream(), 201, media_type="application/x-ndjson")

    return app


class _Create(BaseModel):
    service_id: str
    initial_message: str | None = None


async def _live(receive: Any, send: Any) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def create_app() -> Bare:
    """Make the bare application."""
    return Bare(_lines(), float(os.environ[DELAY_MS]) / 1000)


def _lines() -> list[bytes]:
    return Path(os.environ[LINES]).read_bytes().splitlines(keepends=True)


def main() -> None:
    os.environ[LINES], os.environ[DELAY_MS], *named = sys.argv[1:]
    listener = serve.listen("127.0.0.1", 0)
    where = serve.address(listener)
    serve.run_server(
        listener,
        1,
        lambda: print(f"The bare application answers on {where}", flush=True),
        f"bench.bare:{(*named, 'create_app')[0]}",
    )


if __name__ == "__main__":
    main()
