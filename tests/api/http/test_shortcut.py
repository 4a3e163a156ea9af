"""A shortcut to an endpoint gives it what the framework would, or leaves the request to the framework."""

import inspect
import json
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Annotated, Any
from urllib.parse import urlencode

import pytest
from fastapi import Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from tertulia.api import FAMILIES, ROUTERS
from tertulia.api.http.bodies import BodyReader
from tertulia.api.http.families import load
from tertulia.api.http.routing import BROKEN_BODY, ContractRequest
from tertulia.api.http.shortcut import shortcut_of

ROUTES: dict[str, APIRoute] = {
    route.operation_id or route.name: route
    for router in (*ROUTERS, *(load(module) for modules in FAMILIES.values() for module in modules))
    for route in router.routes
    if isinstance(route, APIRoute)
}
SHORTENED = [name for name, route in ROUTES.items() if shortcut_of(route, BROKEN_BODY) is not None]
HOT = ("create-conversation", "interact-with-conversation", "finish-conversation", "follow-interaction")
REQUESTS = 150

PATH = ("0" * 24, "f" * 24, "1" * 24, "x", "A" * 24)
VALUES = (
    "text",
    "text",
    "text",
    "text",
    "text",
    "text",
    "voice",
    "mp3",
    "",
    "0",
    "-1",
    "7",
    "x",
    "a b",
    "x" * 300,
    "é",
    "^.*$",
)
BODIES = (
    b"",
    b"{}",
    b"null",
    b"[]",
    b"{",
    *(b'{"service_id":"000000000000000000000000"}',) * 8,
    b'{"service_id":"000000000000000000000000","initial_message":"Hello","tags":{"a":"b"},"is_test":true,"more":1}',
    b'{"service_id":1,"initial_message":2}',
    *(b'{"rating":"up","content":"Likes cats.","version_set":{"llm_model_preferences":{}}}',) * 8,
)
"""Parameters that several operations take, each its own part of them, and some that none takes."""


class Told(Exception):
    """The values that an endpoint was called with."""


def telling(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """Make an endpoint that asks for the same as another. Return it; a call raises Told."""

    async def tell(**values: Any) -> None:
        raise Told({name: value for name, value in values.items() if not isinstance(value, Request)})

    told: Any = tell
    told.__signature__ = inspect.signature(endpoint, eval_str=True)
    told.__annotations__ = {"return": Response}
    return told


def route_like(route: Any) -> APIRoute:
    """Make a route whose endpoint tells what it was called with, and whose dependencies tell that they were asked."""
    made = APIRoute(route.path, telling(route.endpoint), status_code=route.status_code, methods=list(route.methods))
    for dependency in made.dependant.dependencies:

        async def found(name: str | None = dependency.name, **_request: Request) -> str:
            return f"found {name}"

        dependency.call = found
    return made


def scope_of(route: APIRoute, chance: random.Random) -> tuple[dict[str, Any], bytes]:
    """Make up a request: its parameters are missing, right or wrong."""
    names = [field.alias for field in route.dependant.query_params]
    query = [
        (name, chance.choice(VALUES))
        for name in [*names, "other", chance.choice(names or [""])]
        if chance.random() < 0.8
    ]
    headers = [(b"content-type", chance.choice((b"application/json",) * 4 + (b"text/plain", b"")))]
    headers.extend(
        (field.alias.encode(), chance.choice(VALUES).encode())
        for field in route.dependant.header_params
        if chance.random() < 0.8
    )
    path = {field.alias: chance.choice(PATH) for field in route.dependant.path_params}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "path_params": path,
        "query_string": urlencode(query).encode(),
        "headers": headers,
    }
    return scope, chance.choice(BODIES)


async def told_by(
    answer: Callable[[Request], Any], scope: dict[str, Any], body: bytes, reader: BodyReader | None
) -> object:
    """Ask an endpoint for an answer. Return what it was called with, or how the request was refused."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async with AsyncExitStack() as stack:
        stacks = ("fastapi_middleware_astack", "fastapi_inner_astack", "fastapi_function_astack")
        request = ContractRequest({**scope, **dict.fromkeys(stacks, stack)}, receive, reader)
        try:
            return await answer(request)
        except Told as told:
            return told.args[0]
        except RequestValidationError:
            return "refused"


def test_the_busiest_operations_have_shortcuts() -> None:
    assert set(HOT) <= set(SHORTENED)


@pytest.mark.parametrize("operation", SHORTENED)
async def test_shortcuts_give_an_endpoint_what_the_framework_gives_it(operation: str) -> None:
    route = route_like(ROUTES[operation])
    shortcut = shortcut_of(route, BROKEN_BODY)
    assert shortcut is not None
    framework = APIRoute.get_route_handler(route)
    reader = None if route.body_field is None else BodyReader(route.body_field.field_info.annotation)
    chance, outcomes = random.Random(operation), list[bool]()
    for _ in range(REQUESTS):
        scope, body = scope_of(route, chance)
        right = await told_by(framework, scope, body, reader)
        found = await told_by(shortcut, scope, body, reader)
        assert found == (None if right == "refused" else right), json.dumps([str(scope), body.decode()])
        outcomes.append(right == "refused")
    assert False in outcomes  # some were right


def test_an_endpoint_that_asks_for_anything_unusual_has_no_shortcut() -> None:
    def sync() -> Response:
        return Response()

    async def with_an_answer(request: Request, answer: Response) -> Response:
        return answer

    async def with_lists(names: Annotated[list[str], Query()]) -> Response:
        return Response()

    async def of_a_model() -> dict[str, str]:
        return {}

    unusual = (sync, with_an_answer, with_lists, of_a_model)
    assert [shortcut_of(APIRoute("/", endpoint), BROKEN_BODY) for endpoint in unusual] == [None] * len(unusual)
