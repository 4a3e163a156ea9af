"""Streams of turns as responses: NDJSON, each line sent when it is made."""

import asyncio
from contextlib import aclosing, suppress

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tertulia.api.http.middleware import STREAMED_BODY
from tertulia.audio.pcm import RATE
from tertulia.engine.turns.log import Stream

READER_STALL_S = 300
"""Seconds after which a client that takes nothing of a stream is cut off."""

NO_BUFFERING = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
"""Keeps proxies from holding pieces back."""


class NDJSONResponse(Response):
    """A response that follows a turn's log to its end. The turn runs on without it; if it runs a tool that is not to be
    left alone, the log asks to be told of a client that leaves.

    Its headers name the turn, so that a client that is cut off can come back for the rest.
    """

    media_type = "application/x-ndjson"

    def __init__(self, stream: Stream, status_code: int, after: int = 0, *, spoken: bool = False) -> None:
        self.stream = stream
        self.status_code = status_code
        self.after = after
        self.background = None
        self.init_headers(
            {
                **NO_BUFFERING,
                "X-Tertulia-Conversation-Id": stream.conversation_id,
                "X-Tertulia-Interaction-Id": stream.interaction_id,
                **({"Idempotent-Replayed": "true"} if stream.replayed else {}),
                **({"X-Tertulia-Audio-Rate": str(RATE)} if spoken else {}),
            }
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": list(self.raw_headers)})
        self.raw_headers.clear()  # sent, and a stream stays open for long
        scope[STREAMED_BODY] = self._send_body

    async def _send_body(self, receive: Receive, send: Send) -> None:
        """Send the lines as they come. A client that takes nothing for too long is cut off: TimeoutError."""
        now = asyncio.get_running_loop().time
        leaving: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(None) as patience, aclosing(self.stream.log.follow(self.after)) as chunks:
                async for chunk in chunks:
                    if not chunk:
                        leaving = leaving or asyncio.create_task(_leaving(receive, patience))
                        continue
                    patience.reschedule(now() + READER_STALL_S)
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                    patience.reschedule(None)
                    if leaving is not None and leaving.done():
                        return
        except TimeoutError:
            if leaving is None or not leaving.done():
                raise
            return
        finally:
            if leaving is not None:
                leaving.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _leaving(receive: Receive, patience: asyncio.Timeout) -> None:
    """Wait until the client leaves, then end what waits for the next line."""
    while (await receive())["type"] != "http.disconnect":
        pass
    with suppress(RuntimeError):  # it ends already, since the client takes nothing
        patience.reschedule(asyncio.get_running_loop().time())
