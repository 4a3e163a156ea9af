"""Pages of other origins (CORS): which may call, and what they may read.

Tokens travel in headers that a page sets itself, never in cookies, so no credentials of the browser are allowed.
Preflight requests are answered here, before credentials are read and limits are counted.
"""

from collections.abc import Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tertulia.api.http.errors import answer
from tertulia.errors import Forbidden

EXPOSED = (
    "Idempotent-Replayed",
    "Retry-After",
    "WWW-Authenticate",
    "X-RateLimit-Limit",
    "X-RateLimit-Remaining",
    "X-RateLimit-Reset",
    "X-Request-Id",
    "X-Tertulia-Audio-Rate",
    "X-Tertulia-Conversation-Id",
    "X-Tertulia-Interaction-Id",
    "X-Tertulia-Warning",
)
"""The headers of an answer that a page may read, beside those that every page may."""

ANY = "*"
PREFLIGHT_S = 600
"""The time that a browser may remember a preflight's answer, in seconds."""

_METHODS = "DELETE, GET, HEAD, POST, PUT"


class Cors:
    """A layer around all others: answers preflight requests, and lets allowed origins read every answer."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        self._app = app
        self._origins = frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin", "")
        allowed = bool(origin) and (origin in self._origins or ANY in self._origins)
        if origin and scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _preflight(headers, allowed=allowed)(scope, receive, send)
            return

        async def send_readable(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered = MutableHeaders(scope=message)
                answered.add_vary_header("Origin")
                if allowed:
                    answered["Access-Control-Allow-Origin"] = origin
                    answered["Access-Control-Expose-Headers"] = ", ".join(EXPOSED)
            await send(message)

        await self._app(scope, receive, send_readable)


def _preflight(headers: Headers, *, allowed: bool) -> Response:
    """Answer a browser that asks before it sends a request. Return the response."""
    vary = {"Vary": "Origin, Access-Control-Request-Headers"}
    if not allowed:
        refused = answer(Forbidden("Pages of this origin may not call this server."))
        refused.headers.update(vary)
        return refused
    return Response(
        status_code=204,
        headers={
            **vary,
            "Access-Control-Allow-Origin": headers["origin"],
            "Access-Control-Allow-Methods": _METHODS,
            "Access-Control-Allow-Headers": headers.get("access-control-request-headers", ""),
            "Access-Control-Max-Age": str(PREFLIGHT_S),
        },
    )
