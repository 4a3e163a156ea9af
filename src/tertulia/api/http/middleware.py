"""Layers around every request, as plain ASGI: a watcher (request id, log, metrics), a last resort, bounds on the body.

A response passes through untouched, so that a stream's pieces leave when they are made.
"""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache

import structlog
from prometheus_client import Counter, Gauge, Histogram
from starlette.datastructures import MutableHeaders, QueryParams
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tertulia.api.http import warnings
from tertulia.api.http.errors import answer
from tertulia.api.http.rate_limit import tell_allowance
from tertulia.errors import InternalError, PayloadTooLarge, RequestTimeout, Unavailable
from tertulia.settings import LimitSettings

REQUEST_ID = "x-request-id"
_REQUEST_ID = REQUEST_ID.encode()
_REQUEST_ID_PATTERN = re.compile(r"[A-Za-z0-9._-]{1,64}")

REQUESTS = Counter("tertulia_http_requests", "Requests answered.", ["method", "route", "status"])
DURATION = Histogram(
    "tertulia_http_request_duration_seconds",
    "From a request's arrival to the end of its answer; a stream counts as a whole.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
OPEN_STREAMS = Gauge("tertulia_open_streams", "Event streams being answered now.", multiprocess_mode="livesum")

_OF_THE_APPLICATION = ("fastapi", "tertulia.")

STREAMED_BODY = "tertulia.body"
"""The key of the scope under which a response that has begun leaves the function that sends its body."""

_log = structlog.get_logger(__name__)

StreamedBody = Callable[[Receive, Send], Awaitable[None]]


def header(scope: Scope, name: bytes) -> str:
    """Look for a header of a request by its name in lower case. Return its value, "" if there is none.

    Layers ask for one header each: to look costs a tenth of what it costs to make a mapping of them first.
    """
    return next((value.decode("latin-1") for each, value in scope["headers"] if each == name), "")


class Watch:
    """A watcher, which gives each request its id, logs and counts it.

    The watcher stands before everything else, and sends the body of a stream itself when the application has begun the
    response: so the layers within need not stay in memory for as long as a stream is open, nor pass on its pieces.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._log = structlog.get_logger("tertulia.access").bind()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = header(scope, _REQUEST_ID)
        request_id = given if _REQUEST_ID_PATTERN.fullmatch(given) else f"{random.getrandbits(64):016x}"
        response = _Response(scope, send, request_id)
        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, response.send)
                await _send_stream(scope, receive, send)
            finally:
                self._record(scope, response.status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        """Count and log an answered request; its status is 499 if the client left before there was an answer."""
        route = getattr(scope.get("route"), "path", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        status = status or 499
        requests, duration = _metrics_of(method, route, status)
        requests.inc()
        duration.observe(seconds)
        client = scope["client"][0] if scope.get("client") else ""
        ms = round(seconds * 1000, 1)
        self._log.info("request", method=method, path=scope["path"], status=status, ms=ms, client=client)


@lru_cache(maxsize=1000)
def _metrics_of(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method, route, status), DURATION.labels(method, route)


async def _send_stream(scope: Scope, receive: Receive, send: Send) -> None:
    body: StreamedBody | None = scope.pop(STREAMED_BODY, None)
    if body is not None:
        for name in [name for name in scope if name.startswith(_OF_THE_APPLICATION)]:
            del scope[name]  # the server keeps the scope for as long as the stream is open
        OPEN_STREAMS.inc()
        try:
            await body(receive, send)
        finally:
            OPEN_STREAMS.dec()


class LastResort:
    """A last resort, which answers 500 if nobody else has answered, and logs the reason.

    A request that the server cancels, for it stops and has waited long enough, is answered with 503.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def noticed(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, noticed)
        except ClientDisconnect:
            _log.info("the client left before its request was complete")
        except asyncio.CancelledError:
            if begun:
                raise
            _log.info("a request was given up, for the server stops")
            await answer(Unavailable("The server is stopping.", retry_after=2))(scope, receive, send)
        except Exception as error:
            _log.error("request failed", exc_info=error)
            if begun:  # to break the connection is all that is left
                raise
            await answer(InternalError())(scope, receive, send)


class _Response:
    """A response that is watched; its `status` is 0 until it has begun."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self._scope = scope
        self._send = send
        self._request_id = request_id
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], (_REQUEST_ID, self._request_id.encode())]
            headers = MutableHeaders(scope=message)
            tell_allowance(self._scope, headers)
            warnings.tell(self._scope, headers)
        await self._send(message)


_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class BodyLimits:
    """Bounds a request's body: 413 if it is too large, 408 if it pauses or takes too long. Speech may be larger.

    All bodies together are bounded too: 503 for the one that finds no room.
    """

    def __init__(self, app: ASGIApp, limits: LimitSettings) -> None:
        self.app = app
        self.limits = limits
        self._room = _Room(limits.bodies_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = self.limits.audio_bytes if _is_spoken(scope) else self.limits.body_bytes
        announced = header(scope, b"content-length")
        if announced.isdecimal() and int(announced) > most:
            await answer(_too_large(most))(scope, receive, send)
            return
        body = _Body(receive, self.limits, most, self._room)
        try:
            await self.app(scope, body.receive, send)
        finally:
            body.release()


def _is_spoken(scope: Scope) -> bool:
    """Return True if a request sends a spoken message to a conversation."""
    query: bytes = scope["query_string"]
    if b"voice" not in query or not scope["path"].rstrip("/").endswith("/interact"):
        return False
    return QueryParams(query).get("request_format") == "voice"  # the last one counts, as it does for the endpoint


def _too_large(most: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request body is larger than {most} bytes.")


class _Room:
    """The room for the bodies of all requests that a process works on; `left` is in bytes."""

    __slots__ = ("left",)

    def __init__(self, most: int) -> None:
        self.left = most


class _Body:
    """A body that is being received."""

    def __init__(self, receive: Receive, limits: LimitSettings, most: int, room: _Room) -> None:
        self._room = room
        self._held = 0
        self._receive = receive
        self._limits = limits
        self._most = most
        self._size = 0
        self._began = 0.0
        self._complete = False

    async def receive(self) -> Message:
        if self._complete:  # the next message is the client's leaving, whenever that may be
            return await self._receive()
        now = asyncio.get_running_loop().time()
        self._began = self._began or now
        # Speech over a slow link may take longer, as long as it comes as fast as a whole plain body has to.
        ends_at = self._began + self._limits.body_s * (1 + self._size / self._limits.body_bytes)
        try:
            async with asyncio.timeout_at(min(ends_at, now + self._limits.body_stall_s)):
                message = await self._receive()
        except TimeoutError as error:
            raise RequestTimeout("The request body did not arrive in time.") from error
        self._complete = message["type"] != "http.request" or not message.get("more_body", False)
        size = len(message.get("body", b""))
        self._size += size
        if self._size > self._most:
            raise _too_large(self._most)
        if size > self._room.left:
            raise Unavailable("The server has as many requests in its memory as it can.", retry_after=2)
        self._room.left -= size
        self._held += size
        return message

    def release(self) -> None:
        """Give the room of the body back."""
        self._room.left += self._held
        self._held = 0
