"""WebSockets as uvicorn speaks them, with bounds on frames that are not yet a message, or none."""

import asyncio
from contextlib import suppress
from typing import Any

import structlog
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.server import ServerProtocol

from tertulia.serving.connections import Connections
from tertulia.serving.refusal import refusal

UNREAD_BYTES = 1 << 20
"""A WebSocket's client that leaves more unread, and sends pings still, is cut off: each pong would be kept for it."""

FRAMES = 1 << 14
"""A message in more frames than this is one without an end."""

EARLY_BYTES = 64 * 1024
"""The most that a client may send before it has its answer."""

_KEPT = ("Upgrade", "Sec-WebSocket-Version", "Allow")

_log = structlog.get_logger(__name__)


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket whose client can neither fill the memory with pongs that it does not read, nor with empty frames.

    uvicorn holds back what the application sends, and the messages that it has not yet taken, but none of these.
    """

    def __init__(self, *args: Any, connections: Connections, **options: Any) -> None:
        super().__init__(*args, **options)
        self._register = connections
        self._handshake_timer: asyncio.TimerHandle | None = None
        self._early = b""

    @property
    def is_answering(self) -> bool:
        """True while the session lasts."""
        return self.handshake_complete and not self.close_sent

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not self.close_sent:
            data = b"".join(self.frames)
            self.frames = [data]
            try:
                data.decode()
            except UnicodeDecodeError:  # the client's mistake: one line, where uvicorn has a traceback
                self.frames = []
                _log.info("connection refused", reason="a message is not UTF-8")
                with suppress(InvalidState):  # the client may have begun to close
                    self.conn.send_close(1007)
                    self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    def make_room(self) -> None:
        """Close now, for others."""
        self.transport.abort()

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._register.add(self)
        loop = asyncio.get_running_loop()
        self._handshake_timer = loop.call_later(self._register.bounds.handshake_s, self._handshake_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._register.remove(self)
        if self._handshake_timer is not None:
            self._handshake_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self.handshake_initiated or self.handshake_complete:
            super().data_received(data)
            return
        self._early += data
        if len(self._early) > EARLY_BYTES:
            self.transport.abort()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if self.close_sent and self.initial_response is not None and not self.handshake_complete:
            self.handshake_complete = True  # uvicorn takes an answer of the application for none, and logs an error
            _log.info("websocket refused", status=self.initial_response[0])
        if self._early and self.handshake_complete:
            data, self._early = self._early, b""
            if not self.close_sent:
                super().data_received(data)

    def _handshake_is_late(self) -> None:
        if not self.handshake_complete and self.initial_response is None:
            self.transport.abort()

    def handle_connect(self, event: Request) -> None:
        answer = ServerProtocol().accept(event)
        if answer.status_code == 101:
            super().handle_connect(event)
            return
        reason = answer.body.decode(errors="replace").strip().partition("\n")[0]
        _log.info("websocket refused", status=answer.status_code, reason=reason)
        self.handshake_complete = self.close_sent = True
        fields = [(name.encode(), answer.headers[name].encode()) for name in _KEPT if name in answer.headers]
        self.transport.write(refusal(answer.status_code, reason, fields))
        self.transport.close()

    def handle_ping(self) -> None:
        super().handle_ping()
        if self.transport.get_write_buffer_size() > UNREAD_BYTES:
            self.transport.abort()

    def handle_cont(self, event: Frame) -> None:
        super().handle_cont(event)
        if len(self.frames) > FRAMES:
            self.transport.abort()
