"""The pool of connections to vendors' servers, beneath httpx2's client.

httpx2's own transport takes most of the CPU of a streamed answer, between generators, locks and timers. Addresses,
headers, redirects, decoding and the classes of errors stay httpx2's. See docs/decisions for the figures.
"""

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import cached_property, partial
from typing import Any

import httpx2

from tertulia.providers.http1 import Connection, Origin

KEPT = 100
"""The most idle connections to one server."""

KEPT_S = 30
"""Seconds after which an idle connection is not used any more."""

NEXT_ADDRESS_S = 0.25
"""The head start that an address of a host has before the next one is tried too: RFC 8305, section 5."""


class Transport(httpx2.AsyncBaseTransport):
    """A pool of connections, by server."""

    def __init__(self) -> None:
        self._idle: dict[Origin, list[Connection]] = {}
        self._busy: set[Connection] = set()
        self._closed = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request. Return the response when its head is there; its stream gives the body as it comes.

        Raises:
            ConnectError, ConnectTimeout: there is no connection to the server.
            ReadError, ReadTimeout, RemoteProtocolError: the server does not answer as it should.
            LocalProtocolError: a header would be two.
        """
        patience: Mapping[str, float | None] = request.extensions["timeout"]
        body = await request.aread()
        head = _head(request, body)
        connection = await self._take(request.url, patience["connect"])
        self._busy.add(connection)
        try:
            connection.ask(head, body, patience["read"])
            await connection.head()
        except BaseException:
            self.give_back(connection)
            raise
        return httpx2.Response(connection.status, headers=connection.headers, stream=_Body(self, connection))

    def give_back(self, connection: Connection) -> None:
        """Keep a connection for another request, if it can have one; close those that have waited for too long."""
        if connection not in self._busy:
            return
        self._busy.discard(connection)
        idle = self._idle.setdefault(connection.origin, [])
        while idle and idle[0].is_old(KEPT_S):
            idle.pop(0).close()
        if connection.end() and len(idle) < KEPT and not self._closed:
            idle.append(connection)
        else:
            connection.close()

    async def aclose(self) -> None:
        """Close all connections. An answer that is being read fails."""
        self._closed = True
        for connection in [*self._busy, *(each for idle in self._idle.values() for each in idle)]:
            connection.close()
        self._idle.clear()

    async def _take(self, url: httpx2.URL, patience_s: float | None) -> Connection:
        """Take an idle connection to the server of an address, or make one. Return it."""
        origin = _origin(url)
        idle = self._idle.get(origin, [])
        while idle:
            connection = idle.pop()
            if connection.is_fresh(KEPT_S):
                return connection
            connection.close()
        try:
            async with asyncio.timeout(patience_s):
                return await self._connect(origin)
        except TimeoutError:
            raise httpx2.ConnectTimeout(f"no connection in {patience_s} s") from None
        except (OSError, UnicodeError) as error:
            raise httpx2.ConnectError(str(error) or type(error).__name__) from error

    async def _connect(self, origin: Origin) -> Connection:
        """Connect to the address of a host that answers first. Return the connection."""
        scheme, host, port = origin
        loop = asyncio.get_running_loop()
        options: dict[str, Any] = {"ssl": self._tls, "server_hostname": host} if scheme == b"https" else {}

        async def connect(address: str) -> Connection:
            _, connection = await loop.create_connection(lambda: Connection(origin), address, port, **options)
            return connection

        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = dict.fromkeys(str(info[4][0]) for info in found)
        return await first_to_connect([partial(connect, address) for address in addresses])

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = httpx2.create_ssl_context()
        context.set_alpn_protocols(["http/1.1"])
        return context


class _Body(httpx2.AsyncByteStream):
    """The body of an answer, as it comes."""

    def __init__(self, transport: Transport, connection: Connection) -> None:
        self._transport = transport
        self._connection = connection

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self._connection.read():
            yield chunk

    async def aclose(self) -> None:
        self._transport.give_back(self._connection)


def _origin(url: httpx2.URL) -> Origin:
    scheme = url.raw_scheme
    if scheme not in (b"http", b"https"):
        raise httpx2.UnsupportedProtocol("The address is not one of http or https.")
    return scheme, url.raw_host.decode("ascii"), url.port or (443 if scheme == b"https" else 80)


def _head(request: httpx2.Request, body: bytes) -> bytes:
    """Write the head of a request. Return it. Raises LocalProtocolError if a line break makes more than one of it."""
    headers = request.headers
    if "Transfer-Encoding" in headers:  # its body has come in pieces, and is whole now
        headers = httpx2.Headers([field for field in headers.raw if field[0].lower() != b"transfer-encoding"])
        headers["Content-Length"] = str(len(body))
    fields = [b"%b: %b\r\n" % field for field in headers.raw]
    line = b"%b %b HTTP/1.1\r\n" % (request.method.encode("ascii"), request.url.raw_path)
    head = b"".join([line, *fields, b"\r\n"])
    if not head.count(b"\r") == head.count(b"\n") == len(fields) + 2 or b"\0" in head:
        raise httpx2.LocalProtocolError("There is a line break or NUL in a header.")
    return head


async def first_to_connect(attempts: list[Callable[[], Awaitable[Connection]]]) -> Connection:
    """Make attempts, each a little after the one before or once that has failed. Return the first connection.

    Raises:
        OSError: all have failed.
    """
    waiting = deque(attempts)
    running: set[asyncio.Future[Connection]] = set()
    failure: BaseException = OSError("the host has no address")
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.ensure_future(waiting.popleft()()))
            patience_s = NEXT_ADDRESS_S if waiting else None
            done, running = await asyncio.wait(running, timeout=patience_s, return_when=asyncio.FIRST_COMPLETED)
            for attempt in done:
                if attempt.exception() is None:
                    running |= done - {attempt}
                    return attempt.result()
                failure = attempt.exception() or failure
        raise failure
    finally:
        for attempt in running:
            attempt.cancel()
            attempt.add_done_callback(_close)


def _close(attempt: asyncio.Future[Connection]) -> None:
    """Close a connection that came too late."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()
