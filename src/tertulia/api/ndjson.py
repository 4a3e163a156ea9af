"""A turn as a response: NDJSON, each line sent when it is made."""

from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tertulia.engine.turn import Turn

NO_BUFFERING = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Keeps proxies from holding pieces back."""


class NDJSONResponse(Response):
    """Follows a turn's log to its end. The turn runs on without it: a client that leaves ends nothing."""

    media_type = "application/x-ndjson"

    def __init__(self, turn: Turn, status_code: int) -> None:
        self.turn = turn
        self.status_code = status_code
        self.background = None
        self.init_headers(NO_BUFFERING)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with aclosing(self.turn.follow()) as chunks:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
