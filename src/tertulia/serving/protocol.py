"""HTTP/1.1 and WebSockets as uvicorn speaks them, with bounds on what the application never sees.

That is a request's head, which comes before anybody is asked who they are, and the frames of a WebSocket that are not
yet a message, or none.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

HEAD_BYTES = 64 * 1024
"""A head that is longer than this, and not yet complete, is refused with 431."""

HEAD_S = 20.0
"""A head that is not complete after so many seconds has no answer: the connection is closed."""

UNREAD_BYTES = 1 << 20
"""A WebSocket's client that leaves more unread, and sends pings still, is cut off: each pong would be kept for it."""

FRAMES = 1 << 14
"""A message in more frames than this is one without an end."""

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
    b"content-type: application/json\r\ncontent-length: 45\r\nconnection: close\r\n\r\n"
    b'{"detail":"The headers are larger than 64 K"}'
)


class BoundedProtocol(HttpToolsProtocol):
    """A connection whose requests must each begin in time and in bounds."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_bytes = 0
        self._in_head = True
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
                self.transport.write(_TOO_LARGE)
                self.transport.close()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if not self._in_head:
            self._expect_head()

    def on_headers_complete(self) -> None:
        self._have_head()
        super().on_headers_complete()

    def _expect_head(self) -> None:
        self._in_head = True
        self._head_bytes = 0
        self._head_timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _have_head(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose client can neither fill the memory with pongs that it does not read, nor with empty frames.

    uvicorn holds back what the application sends, and the messages that it has not yet taken, but none of these.
    """

    def handle_ping(self) -> None:
        super().handle_ping()
        if self.transport.get_write_buffer_size() > UNREAD_BYTES:
            self.transport.abort()

    def handle_cont(self, event: Frame) -> None:
        super().handle_cont(event)
        if len(self.frames) > FRAMES:
            self.transport.abort()
