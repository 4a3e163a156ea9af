"""Routes as the contract has them: with and without a trailing slash, and bodies of plain JSON only."""

import re
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, ParamSpec, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from tertulia import problems
from tertulia.api.http import bodies
from tertulia.api.http.audit import SENT
from tertulia.api.http.bodies import BodyReader
from tertulia.api.http.deps import find_claims, find_runtime, needs_caller
from tertulia.api.http.rate_limit import RateLimit
from tertulia.api.http.shortcut import shortcut_of
from tertulia.api.http.warnings import unknown, warn
from tertulia.errors import Unprocessable, UnsupportedMedia

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

P = ParamSpec("P")
T = TypeVar("T")

PREFIX = "/v1/{organization}"

BROKEN_BODY = "tertulia.broken_body"
"""The key of a request's scope under which it has the error of its body."""

_JSON = re.compile(r"application/([\w.-]+\+)?json\s*(;.*)?", re.ASCII | re.IGNORECASE)
_NO_JSON = Unprocessable(
    "The body must be JSON, with the header Content-Type: application/json.", ("header", "content-type")
)
_NUL = "\0"

_PARAMETER = re.compile(r"\{[^}]*\}")

LARGE_BYTES = 64 * 1024
"""A longer body is decoded beside other requests, one at a time."""

MOST_REPEATS = 500
"""Values of one parameter of a query: a page has no more items."""


def contract_router(path: str, tag: str) -> APIRouter:
    """Make a router of one resource, below an organization. Return it.

    Its routes go straight into the application (`FastAPI(routes=...)`): one that is included through another router is
    matched by that router's own pattern, which knows one slash form only.
    """
    return APIRouter(prefix=PREFIX + path, tags=[tag], route_class=ContractRoute)


class ContractRoute(APIRoute):
    """A route that serves both slash forms itself: clients do not follow a redirected POST safely."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        dependencies = options.pop("dependencies", None) or ()
        limits = [each.dependency for each in dependencies if isinstance(each.dependency, RateLimit)]
        self._rate_limit = limits[0] if limits else None
        options["dependencies"] = [each for each in dependencies if each.dependency not in limits]
        super().__init__(path, endpoint, **options)
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$").removesuffix("/") + r"/?\Z")
        self._fixed_part = max((part.rstrip("/") for part in _PARAMETER.split(path)), key=len)

    def get_route_handler(self) -> Handler:
        handle = _in_stacks(super().get_route_handler())
        reader = None if self.body_field is None else BodyReader(self.body_field.field_info.annotation)
        shortcut = shortcut_of(self, BROKEN_BODY)
        rate_limit, operation = self._rate_limit, self.operation_id or ""
        knows_caller = rate_limit is not None or any(needs_caller(each.call) for each in self.dependant.dependencies)

        async def handle_contract_request(request: Request) -> Response:
            refuse_nul_in_path(request)
            if not knows_caller:
                refuse_query(request)
                return await handle_within_bounds(request)
            claims = await find_claims(request)  # the framework reads the body before it asks
            if rate_limit is not None:
                await rate_limit.count(request, operation, claims)
            refuse_query(request)
            runtime = await find_runtime(request)
            async with runtime.places.place((claims.org_id, claims.user_id)):
                return await handle_within_bounds(request)

        async def handle_within_bounds(request: Request) -> Response:
            contract_request = ContractRequest(request.scope, request.receive, reader)
            response = None if shortcut is None else await shortcut(contract_request)
            if response is None:
                response = await handle(contract_request)
            await contract_request.warn_of_unknown_fields()
            return response

        self._answer = handle_contract_request
        return handle_contract_request

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Match a request, as the framework does. Return at once if the path lacks the route's longest fixed part."""
        return super().matches(scope) if self._fixed_part in scope["path"] else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, without what the framework puts around each endpoint: the layers around the router do it.

        Only the framework's own way to an endpoint needs the stacks of exits; see `_in_stacks`.
        """
        if scope["method"] not in self.methods:
            await super().handle(scope, receive, send)
            return
        response = await self._answer(Request(scope, receive, send))
        await response(scope, receive, send)


def _in_stacks(handle: Handler) -> Handler:
    """Give a framework's handler the stacks of exits that it asks for. Return the handler.

    They are left before the response is sent: no dependency of ours has an exit.
    """

    async def handle_in_stacks(request: Request) -> Response:
        async with AsyncExitStack() as outer, AsyncExitStack() as inner:
            request.scope["fastapi_inner_astack"], request.scope["fastapi_function_astack"] = outer, inner
            return await handle(request)

    return handle_in_stacks


class ContractRequest(Request):
    """A request whose JSON is read as what its operation wants, and holds only what every database can keep.

    A broken body gives an empty text, which is no body of ours, and leaves its error at `BROKEN_BODY` in the scope: a
    caller without valid credentials hears of those first.
    """

    def __init__(self, scope: Scope, receive: Receive, reader: BodyReader | None) -> None:
        super().__init__(scope, receive)
        self._reader = reader
        self._read: tuple[object, object] | None = None
        self._size: int | None = None

    async def body(self) -> bytes:
        """Read the whole body. Return its bytes; bytes that are not said to be JSON leave an error in the scope."""
        body = await super().body()
        if self._size is None:
            self._size = len(body)
            if body and not _JSON.fullmatch(self.headers.get("content-type", "")):
                self.scope[BROKEN_BODY] = _NO_JSON
        return body

    def stream(self) -> AsyncGenerator[bytes, None]:
        """Read the body in pieces. Return them.

        Raises:
            UnsupportedMedia: the body is compressed.
        """
        if self.headers.get("content-encoding", "identity").strip().lower() not in {"identity", ""}:
            raise UnsupportedMedia("Send the body as it is, without Content-Encoding.")
        return super().stream()

    async def json(self) -> Any:
        """Read the body as JSON. Return it as the operation's own type, or an empty text if it is broken."""
        body = await self.body()
        try:
            self._read = await self._large_or_small(self._decode, body)
        except Unprocessable as error:
            self.scope[BROKEN_BODY] = error
            return ""
        value, self.scope[SENT] = self._read
        return value

    def _decode(self, body: bytes) -> tuple[object, object]:
        """Decode a body. Return it as the operation's own type, and as it was sent."""
        sent = bodies.decode(body)
        return (sent if self._reader is None else self._reader.read(sent)), sent

    async def warn_of_unknown_fields(self) -> None:
        """Have the response name the fields of the body that mean nothing here."""
        if self._read is not None:
            for place in await self._large_or_small(problems.unknown_fields, *self._read):
                warn(self, unknown(".".join(map(str, place))))

    async def _large_or_small(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do something with a body that has been read, beside the loop if it is large. Return the result."""
        if (self._size or 0) <= LARGE_BYTES:
            return work(*args, **kwargs)
        runtime = await find_runtime(self)
        return await runtime.heavy_thread.run(work, *args, **kwargs)


def refuse_nul_in_path(request: HTTPConnection) -> None:
    """Raise Unprocessable if a path has a NUL, which not every database can be asked for."""
    if _NUL in request.scope["path"]:
        raise Unprocessable("The character NUL is not allowed in a path.", ("path",))


def refuse_query(request: HTTPConnection) -> None:
    """Raise Unprocessable if a query has a NUL, or gives a parameter too often."""
    if "%00" in request.scope["query_string"].decode("latin-1"):
        raise Unprocessable("The character NUL is not allowed in a query.", ("query",))
    if request.scope["query_string"].count(b"&") < MOST_REPEATS:
        return
    name, count = Counter(name for name, _ in request.query_params.multi_items()).most_common(1)[0]
    if count > MOST_REPEATS:
        raise Unprocessable(f"Give this at most {MOST_REPEATS} times: it is there {count} times.", ("query", name))
