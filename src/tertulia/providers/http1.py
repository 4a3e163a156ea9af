"""A connection that speaks HTTP/1.1 to a vendor's server: one request and its answer at a time.

Errors are httpx2's, with which the callers of vendors are at home.
"""

import asyncio
import select
import time
from typing import Any

import httptools
import httpx2

MAX_HEAD_BYTES = 100 << 10
"""The most bytes before the first of a body, between two pieces of it, and behind it: heads, frames and trailers."""

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
        """The bytes that have come since the last of the body."""
        self._has_body = True
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

    def is_old(self, kept_s: float) -> bool:
        """Return True if the connection is closed, or has been idle for `kept_s` seconds."""
        return self._closed or time.monotonic() - self._idle_since >= kept_s

    def is_fresh(self, kept_s: float) -> bool:
        """Return True if the connection can have a request: it is open, and was idle for less than `kept_s` seconds.

        What a busy event loop has not read yet is looked for too: it can only be the server's goodbye.
        """
        if self.is_old(kept_s):
            return False
        unread = select.poll()
        unread.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return not unread.poll(0)

    def ask(self, head: bytes, body: bytes, stall_s: float | None) -> None:
        """Send a request. The server may be silent for so many seconds at a time; None: as long as it likes."""
        self._forget(stall_s)
        self._asked = True
        self._has_body = not head.startswith(b"HEAD ")
        if self._closed:  # nobody would hear of that again
            self._failure = httpx2.ConnectError("the server closed the connection before it was asked")
        else:
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
        is_over = self._complete and self._persists and self._reading
        if self._closed or not is_over or self._transport.get_write_buffer_size():  # answered before all was sent
            self.close()
            return False
        self._idle_since = time.monotonic()
        return True

    def close(self) -> None:
        """Close the connection at once. An answer that is not whole yet has failed."""
        if self._closed:
            return
        self._closed = True
        self._transport.abort()
        if not self._complete and self._failure is None:
            self._fail(httpx2.ReadError("the connection was closed before the end of the answer"))

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
        self._head_bytes += len(data)
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
        if self._head_bytes > MAX_HEAD_BYTES and not self._complete:
            self._fail(httpx2.RemoteProtocolError("the answer's head, a frame or its trailers are too long"))
            self.close()
            return
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._closed = True
        if not self._asked or self._complete or self._failure is not None:
            return
        if self._until_close and exc is None:
            self._complete = True
            self._wake()
        else:
            self._fail(httpx2.ReadError(str(exc)) if exc else httpx2.RemoteProtocolError(self._broken_off))

    @property
    def _broken_off(self) -> str:
        return "the server closed the connection " + ("within its answer" if self._begun else "without an answer")

    # --- For the parser ----------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self._complete:
            raise httptools.HttpParserError("nobody has asked for a second answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._begun:  # it is no trailer
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # the answer is still to come
            self.headers = []
            return
        fields = {name.lower(): value for name, value in self.headers}
        codings = fields.get(b"transfer-encoding", b"").strip().lower()
        self._persists = self._has_body and self._parser.should_keep_alive()
        self._until_close = (
            status not in _NO_BODY and b"content-length" not in fields and not codings.endswith(b"chunked")
        )
        self.status = status
        self._begun = True
        self._complete = not self._has_body

    def on_body(self, body: bytes) -> None:
        if self._complete:
            return
        self._head_bytes = 0
        self._unread += body
        if self._reading and len(self._unread) > MAX_UNREAD_BYTES:
            self._reading = False
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        self._complete = self._begun
