"""HTTP/1.1 as uvicorn speaks it, with bounds on what the application never sees.

That is a request's head, which comes before anybody is asked who they are, the trailers of a body, what follows a
refused request, and answers that nobody reads.
"""

import asyncio
from typing import Any, cast
from urllib.parse import unquote

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from tertulia.serving.connections import Bounds, Connections
from tertulia.serving.refusal import refusal

WEBSOCKET_FIELDS = 128
"""The most fields of a WebSocket's request. The library that reads it takes no more, and says nothing."""

WEBSOCKET_LINE_BYTES = 8000
"""The longest line of a WebSocket's request, for the same reason."""


_log = structlog.get_logger(__name__)


class BoundedProtocol(HttpToolsProtocol):
    """A connection whose requests begin and end in time and in bounds; what is refused is answered and closed."""

    app: Any
    cycle: Any
    """The newest request's `BoundedCycle`; None before the first."""
    parser: Any
    pipeline: Any

    def __init__(self, *args: Any, connections: Connections, **options: Any) -> None:
        super().__init__(*args, **options)
        self._register = connections
        self._bounds: Bounds = connections.bounds
        self._begun = False
        """A head has begun and is not complete."""
        self._message_open = False
        """A head is complete and its body is not."""
        self._head_bytes = 0
        self._overhead = 0
        """Bytes since the last that was a whole head or content."""
        self._moved = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._refused = False
        self._last_words = b""
        self._thrown_away = 0

    @property
    def is_answering(self) -> bool:
        """True while a request is being answered."""
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)

    def make_room(self) -> None:
        """Close now, for others."""
        self.transport.abort()

    # --- the connection ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        farewell: Any = _Farewell(transport, self)
        super().connection_made(farewell)
        if not self._register.add(self):
            self._refused = True
            transport.write(refusal(503, "The server has no room for another connection."))
            transport.close()
            return
        self._register.set_idle(self)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_head()
        self._register.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            self._throw_away(len(data))
            return
        self._unset_keepalive_if_required()
        self._moved = False
        if not self._feed(data):
            return
        self._overhead = 0 if self._moved else self._overhead + len(data)
        self._check_overhead()
        if not self._message_open and not self.is_answering and self.timeout_keep_alive_task is None:
            self._expect_head()

    def _feed(self, data: bytes) -> bool:
        """Have data parsed; return False if this connection has nothing more to expect."""
        while data and not self._refused:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                data = data[int(upgrade.args[0]) :]
                if self._should_upgrade():
                    self._hand_over(data)
                    return False
                data = self._without_upgrade() + data
            except httptools.HttpParserError as error:
                self._refuse(400, f"This is no HTTP request: {_reason(error)}.")
            else:
                break
        return not self._refused

    def _without_upgrade(self) -> bytes:
        """Begin a request anew that asks for an upgrade which is not to be had: the parser has left out its body.

        Return its head as a plain one.
        """
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        line = (self.scope["method"].encode(), self.url, self.scope["http_version"].encode())
        fields = [b"%s: %s" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([b"%s %s HTTP/%s" % line, *fields, b"", b""])

    def _check_overhead(self) -> None:
        if self._message_open:
            if self._overhead > self._bounds.overhead_bytes:
                self._refuse(400, "The trailers or extensions of the request body are too long.")
        elif self._overhead > self._bounds.head_bytes or self._head_bytes > self._bounds.head_bytes:
            self._refuse(431, f"The headers are larger than {self._bounds.head_bytes} bytes.")

    def _should_upgrade(self) -> bool:
        return not self._refused and self.scope["http_version"] == "1.1" and super()._should_upgrade()

    def _hand_over(self, rest: bytes) -> None:
        """Give the connection to the WebSocket's protocol, with what has come after the request."""
        self._have_head()
        self.transport = cast("_Farewell", self.transport).whole
        self._register.remove(self)
        super().handle_websocket_upgrade()
        protocol: Any = self.transport.get_protocol()
        if rest and not self.transport.is_closing():
            protocol.data_received(rest)

    # --- the parser's callbacks -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begun = True
        self._head_bytes = 0
        self._expect_head()

    def on_url(self, url: bytes) -> None:
        self._head_bytes += len(url)
        if self._head_bytes <= self._bounds.head_bytes:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._message_open:  # a trailer: whoever asked for none is given none
            return
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes <= self._bounds.head_bytes and len(self.headers) <= self._bounds.head_fields:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._have_head()
        self._moved = True
        if self._refused:
            return
        http_version = self.parser.get_http_version()
        self.scope["method"] = self.parser.get_method().decode("ascii")
        self.scope["http_version"] = http_version
        if (problem := self._problem()) is not None:
            self._refuse(*problem)
            return
        if not self.parser.should_upgrade():  # else the parser stops here, and `_feed` knows what comes next
            self._message_open = True
            self._begin(http_version)

    def _problem(self) -> tuple[int, str] | None:
        """Check a head. Return the status and the reason of its refusal, or None if nothing is wrong."""
        if self._head_bytes > self._bounds.head_bytes:
            return 431, f"The headers are larger than {self._bounds.head_bytes} bytes."
        if len(self.headers) > self._bounds.head_fields:
            return 431, f"There are more than {self._bounds.head_fields} headers."
        if len(self.pipeline) >= self._bounds.pipelined:
            return 429, "Too many requests wait on this connection."
        target = _target(self.url, self.scope["method"])
        if target is None:
            return 400, "The target of the request is no path."
        raw_path, query = target
        self.scope["raw_path"] = raw_path
        self.scope["query_string"] = query
        if self.parser.should_upgrade() and self._should_upgrade():
            self.url = raw_path + (b"?" + query if query else b"")
            return self._problem_of_upgrade()
        return None

    def _problem_of_upgrade(self) -> tuple[int, str] | None:
        names = {name for name, _ in self.headers}
        length = [value for name, value in self.headers if name == b"content-length"]
        if self.is_answering:
            return 400, "A WebSocket must wait for the answers before it."
        if self.scope["method"] != "GET":
            return 400, "A WebSocket is asked for with GET."
        if b"transfer-encoding" in names or length not in ([], [b"0"]):
            return 400, "A WebSocket's request has no body."
        if len(self.url) > WEBSOCKET_LINE_BYTES:
            return 414, f"The target is longer than {WEBSOCKET_LINE_BYTES} bytes."
        fields = self.headers
        if len(fields) > WEBSOCKET_FIELDS or any(
            len(name) + len(value) > WEBSOCKET_LINE_BYTES for name, value in fields
        ):
            return (
                431,
                f"There are more than {WEBSOCKET_FIELDS} headers, or longer ones than {WEBSOCKET_LINE_BYTES} bytes.",
            )
        return None

    def _begin(self, http_version: str) -> None:
        """Answer the request whose head is complete, after those before it."""
        raw_path: bytes = self.scope["raw_path"]
        self.scope["path"] = self.root_path + unquote(raw_path.decode("ascii"))
        self.scope["raw_path"] = self.root_path.encode("ascii") + raw_path
        before = self.cycle
        self._register.set_busy(self)
        self.cycle = BoundedCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=http_version == "1.1" and self.parser.should_keep_alive(),
            on_response=self.on_response_complete,
        )
        self.cycle.expect(self.headers, self._bounds.rest_bytes)
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        self._moved = True
        if self._refused:
            return
        self.cycle.received += len(body)
        if self.cycle.response_complete and not self.cycle.has_short_rest:
            self.transport.close()
            return
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._moved = True
        self._begun = self._message_open = False
        if self._refused or self.parser.should_upgrade():
            return
        if self.cycle is not None and self.cycle.response_complete:
            self._wait_for_another()
            return
        super().on_message_complete()

    def _wait_for_another(self) -> None:
        """Keep the connection as uvicorn does after an answer: the rest of the request before has come."""
        self.cycle.more_body = False
        self._have_head()
        self._register.set_idle(self)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    # --- answers ----------------------------------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing() or self.is_answering:
            return
        if self._refused:
            self._say_last_words()
        elif not self._message_open:
            self._register.set_idle(self)
            if self._begun:
                self._expect_head()
        elif not self.cycle.has_short_rest:
            self.transport.close()
        else:
            self._expect_head()

    def _refuse(self, status: int, detail: str) -> None:
        """Answer with an error once the requests before are answered, read no more, and close."""
        _log.info("connection refused", status=status, reason=detail, client=self.client[0] if self.client else "")
        self._have_head()
        self._unset_keepalive_if_required()
        self._refused = True
        self._last_words = refusal(status, detail, self.server_state.default_headers)
        if self._message_open and self.cycle is not None:
            self._forget_open_request(self.cycle)
        if not self.is_answering:
            self._say_last_words()
        else:
            self.flow.pause_reading()

    def _forget_open_request(self, cycle: "BoundedCycle") -> None:
        """Have the request whose body broke off look as if its client had left: the refusal is its answer."""
        if cycle.response_started:  # it has its answer, or the beginning of one
            self._last_words = b""
        if self.pipeline and self.pipeline[0][0] is cycle:
            self.pipeline.popleft()
            return
        cycle.disconnected = cycle.response_complete = True
        cycle.message_event.set()

    def _say_last_words(self) -> None:
        if self._last_words:
            self.transport.write(self._last_words)
            self._last_words = b""
        self.transport.close()

    # --- time -------------------------------------------------------------------------------------------------------

    def _expect_head(self) -> None:
        if self._head_timer is None and not self._refused:
            self._head_timer = self.loop.call_later(self._bounds.head_s, self._head_is_late)

    def _have_head(self) -> None:
        self._begun = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self.is_answering:  # a head that came before its turn has time until then
            self._expect_head()
        elif self._begun:
            self._refuse(408, "The request did not arrive in time.")
        else:
            self.transport.close()

    def say_farewell(self, whole: asyncio.Transport) -> None:
        """Close. A client that is still sending reads its answer first, or has a short time for it."""
        self._have_head()
        if whole.is_closing():
            return
        if not (self._message_open or self._refused) or not whole.can_write_eof():
            whole.close()
            return
        self._refused = True
        self.flow.resume_reading()
        whole.write_eof()
        self.loop.call_later(self._bounds.linger_s, whole.abort)

    def _throw_away(self, count: int) -> None:
        self._thrown_away += count
        if self._thrown_away > self._bounds.linger_bytes:
            self.transport.abort()


class BoundedCycle(RequestResponseCycle):
    """A request and its answer. HTTP/1.0 has no chunks: there an answer without a length ends with its connection."""

    transport: Any
    """The connection's `_Farewell`."""
    received = 0
    _announced: int | None = None
    _rest_bytes = 0
    _until_close = False

    def expect(self, headers: list[tuple[bytes, bytes]], rest_bytes: int) -> None:
        """Note what the head says of the body."""
        announced = next((value for name, value in headers if name == b"content-length"), None)
        self._announced = None if announced is None else int(announced)
        self._rest_bytes = rest_bytes

    @property
    def has_short_rest(self) -> bool:
        """True if so little of the body is missing that reading it is better than a new connection."""
        return self._announced is not None and self._announced - self.received <= self._rest_bytes

    async def send(self, message: Any) -> None:
        if not self.response_started and message["type"] == "http.response.start":
            if self.more_body and not self.has_short_rest:
                self.keep_alive = False
            if self.scope["http_version"] != "1.1" and not _has_length(message["headers"]):
                self._until_close = True
                self.chunked_encoding = False
            self.transport.hold_next()
        elif self._until_close:
            self.expected_content_length = len(message.get("body", b""))
        await super().send(message)


class _Farewell:
    """A connection's transport, closed by way of its protocol: a refused client must be able to read the refusal."""

    def __init__(self, whole: asyncio.Transport, protocol: BoundedProtocol) -> None:
        self.whole = whole
        self._protocol = protocol
        self._closed = False
        self._holds_next = False
        self._held = b""

    def hold_next(self) -> None:
        """Hold back what is written next, the head of an answer, to send it with what follows at once.

        If nothing follows, the head leaves in the next round of the event loop.
        """
        self._holds_next = True

    def write(self, data: bytes) -> None:
        if self._holds_next:
            self._holds_next = False
            self._held += data
            self._protocol.loop.call_soon(self.flush)
            return
        if self._held:
            held, self._held = self._held, b""
            self.whole.writelines([held, data])
        else:
            self.whole.write(data)

    def flush(self) -> None:
        """Write what is held back, unless the connection is gone."""
        held, self._held = self._held, b""
        if held and not self.whole.is_closing():
            self.whole.write(held)

    def close(self) -> None:
        self._closed = True
        self.flush()
        self._protocol.say_farewell(self.whole)

    def is_closing(self) -> bool:
        return self._closed or self.whole.is_closing()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.whole, name)


def _has_length(headers: list[tuple[bytes, bytes]]) -> bool:
    return any(name.lower() == b"content-length" for name, _ in headers)


def _target(url: bytes, method: str) -> tuple[bytes, bytes] | None:
    """Split a request's target, which may be a whole address; return its path and query, or None if it has neither."""
    if method == "CONNECT":
        return None
    if url == b"*" and method == "OPTIONS":
        return b"*", b""
    try:
        parsed = httptools.parse_url(url)
    except httptools.HttpParserError:
        return None
    path: bytes = parsed.path or b"/"
    return (path, parsed.query or b"") if path.isascii() and path.startswith(b"/") else None


def _reason(error: Exception) -> str:
    cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else error
    return "it cannot be read" if cause is not error else str(error).rstrip(".")
