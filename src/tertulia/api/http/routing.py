"""Routes as the contract has them: with and without a trailing slash, and bodies of plain JSON only."""

import re
from collections.abc import Callable, Coroutine
from typing import Any, cast

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute
from starlette.requests import HTTPConnection

from tertulia.errors import Unprocessable

PREFIX = "/v1/{organization}"

BROKEN_BODY = "tertulia.broken_body"
"""Where a request's scope has the error of its body."""

_NUL = "\0"


def contract_router(path: str, tag: str) -> APIRouter:
    """A router of one resource, below an organization.

    Its routes go straight into the application (`FastAPI(routes=...)`): one that is included through another router is
    matched by that router's own pattern, which knows one slash form only.
    """
    return APIRouter(prefix=PREFIX + path, tags=[tag], route_class=ContractRoute)


class ContractRoute(APIRoute):
    """A route that serves both slash forms itself: clients do not follow a redirected POST safely."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self.path_regex = re.compile(self.path_regex.pattern.removesuffix("$").removesuffix("/") + r"/?\Z")

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_contract_request(request: Request) -> Response:
            refuse_nul(request)
            return await handle(ContractRequest(request.scope, request.receive))

        return handle_contract_request


class ContractRequest(Request):
    """A request whose JSON holds only text that every database can keep."""

    async def json(self) -> Any:
        """The decoded body.

        A broken one gives text, which is no body of ours, and leaves its error at `BROKEN_BODY` in the scope: whoever
        has no valid credentials hears of those first.
        """
        try:
            return _decode(await self.body())
        except Unprocessable as error:
            self.scope[BROKEN_BODY] = error
            return ""


def _decode(body: bytes) -> Any:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unprocessable(f"{error}.", ("body",)) from error
    except RecursionError as error:
        raise Unprocessable("This JSON is nested too deeply.", ("body",)) from error
    if b"\\u0000" in body and _has_nul(value):
        raise Unprocessable("The character NUL is not allowed in text.", ("body",))
    return value


def refuse_nul(request: HTTPConnection) -> None:
    """Raise Unprocessable where an address has a NUL, which not every database can keep."""
    if _NUL in request.scope["path"]:
        raise Unprocessable("The character NUL is not allowed in a path.", ("path",))
    if "%00" in request.scope["query_string"].decode("latin-1"):
        raise Unprocessable("The character NUL is not allowed in a query.", ("query",))


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return _NUL in value
    if isinstance(value, dict):
        return _has_nul([*cast("dict[str, object]", value).keys(), *cast("dict[str, object]", value).values()])
    return isinstance(value, list) and any(_has_nul(item) for item in cast("list[object]", value))
