"""A connection that speaks HTTP/1.1 to a vendor's server: one request and its answer at a time.

Errors are httpx2's, with which the callers of vendors are at home.
"""

import asyncio
import time
from typing import Any

import httptools
import httpx2

MAX_HEAD_BYTES = 100 << 10
MAX_UNREAD_BYTES = 64 << 10

Origin = tuple[bytes, str, int]
"""A server: scheme, host and port."""

_NO_BODY = frozenset({204, 304})


class Connection(asyncio.Protocol):
    """A connection to `origin`. The answer to `ask` is `head`, then what `read` gives until that is empty."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._closed = False
        self._asked = False
        self._idle_since = 0.0
        self._forget(None)

    def _forget(self, stall_s: float | None) -> None:
        """Forget the exchange before, and prepare for one that may be silent for `stall_s` seconds."""
        self.status = 0
        self.headers = []
        self._stall_s = stall_s
        self._head_bytes = 0
        self._until_close = False
        self._persists = False
        self._begun = False
        self._complete = False
        self._failure: Exception | None = None
        self._unread = bytearray()
        self._reading = True
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._alive_at = 0.0
        self._unsent = 0

    # --- For the pool ------------------------------------------------------------------------------------------------

    def is_fresh(self, kept_s: float) -> bool:
        """Return True if the connection is open, and has not been idle for longer than `kept_s` seconds."""
        return not self._closed and time.monotonic() - self._idle_since < kept_s

    def ask(self, head: bytes, body: bytes, stall_s: float | None) -> None:
        """Send a request. The server may be silent for so many seconds at a time; None: as long as it likes."""
        self._forget(stall_s)
        self._asked = True
        self._transport.writelines([head, body])

    async def head(self) -> None:
        """Wait for the status and the headers.

        Raises:
            ReadError, ReadTimeout, RemoteProtocolError: the server does not answer as it should.
        """
        while not self._begun:
            await self._more()

    async def read(self) -> bytes:
        """Wait for more of the body. Return what is there, and nothing at its end.

        Raises:
            ReadError, ReadTimeout, RemoteProtocolError: the server does not answer as it should.
        """
        while not self._unread:
            if self._complete:
                return b""
            await self._more()
        taken, self._unread = bytes(self._unread), bytearray()
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
        return taken

    def end(self) -> bool:
        """End the exchange. Return True if the connection can have another; it is closed if not."""
        self._asked = False
        if self._timer is not None:
            self._timer.cancel()
        if self._closed or not (self._complete and self._persists and self._reading):
            self.close()
            return False
        self._idle_since = time.monotonic()
        return True

    def close(self) -> None:
        """Close the connection at once."""
        if not self._closed:
            self._closed = True
            self._transport.abort()

    async def _more(self) -> None:
        """Wait until something has come, or will not come any more."""
        if self._failure is not None:
            raise self._failure
        self._waiter = self._loop.create_future()
        self._alive_at = self._loop.time()
        if self._timer is None and self._stall_s is not None:
            self._timer = self._loop.call_later(self._stall_s, self._look)
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _look(self) -> None:
        """Look if the server has been silent for too long: one timer for an answer, not one for each piece."""
        self._timer = None
        if self._waiter is None or self._stall_s is None:
            return
        now, unsent = self._loop.time(), self._transport.get_write_buffer_size()
        if unsent != self._unsent:  # the server is still being told
            self._unsent, self._alive_at = unsent, now
        left = self._alive_at + self._stall_s - now
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._fail(httpx2.ReadTimeout(f"nothing in {self._stall_s} s"))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _fail(self, failure: Exception) -> None:
        self._failure = failure
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_exception(failure)

    # --- For the event loop ------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport: asyncio.Transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._asked or self._complete:  # nobody has asked for this
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self._complete:  # the answer is whole, but more came with it
                self._persists = False
                self._wake()
                return
            self._fail(httpx2.RemoteProtocolError(f"the answer is not HTTP: {error}"))
            self.close()
            return
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        if not self._asked or self._complete:
            return
        if self._until_close and exc is None:
            self._complete = True
            self._wake()
        elif self._failure is None:
            self._fail(httpx2.ReadError(str(exc)) if exc else httpx2.RemoteProtocolError(self._broken_off))

    @property
    def _broken_off(self) -> str:
        return "the server closed the connection " + ("within its answer" if self._begun else "without an answer")

    # --- For the parser ----------------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._begun:  # a trailer
            return
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > MAX_HEAD_BYTES:
            raise httptools.HttpParserError("its head is too long")
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # the answer is still to come
            self.headers = []
            return
        names = {name.lower() for name, _ in self.headers}
        self._persists = self._parser.should_keep_alive()
        self._until_close = status not in _NO_BODY and names.isdisjoint((b"content-length", b"transfer-encoding"))
        self.status = status
        self._begun = True

    def on_body(self, body: bytes) -> None:
        self._unread += body
        if self._reading and len(self._unread) > MAX_UNREAD_BYTES:
            self._reading = False
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._complete = self._begun
