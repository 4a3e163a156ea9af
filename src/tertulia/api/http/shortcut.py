"""A shortcut to an endpoint, made of what the framework knows of the endpoint: its parameters and dependencies.

The framework works out for each request anew how a value is read; that costs more than reading it. A shortcut knows it
from the start. It decides nothing: a request that is not as it should be goes the framework's way, which says what is
wrong. An endpoint that asks for anything unusual has no shortcut. A test compares the two ways.
"""

import inspect
import types
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

Shortcut = Callable[[Request], Awaitable[Response | None]]
"""Answers a request by an endpoint; None if the framework has to look at the request."""

_EMPTY = 204
_SIMPLE = (str, int, float, bool, type(None))
_NOT_ONCE = ("websocket", "response", "background_tasks", "security_scopes")
"""Things of which a shortcut does not know how an endpoint or a dependency gets them."""


@dataclass(frozen=True, slots=True)
class _Parameter:
    """A value of a path, a query or the headers; `default` is what an absent one stands for, `...` for nothing."""

    name: str
    alias: str
    default: Any
    validate: Callable[..., tuple[Any, Sequence[Any]]]


@dataclass(frozen=True, slots=True)
class _Dependency:
    name: str | None
    call: Callable[..., Awaitable[Any]]
    request: str
    """The name of the parameter that takes the request."""


class _Irregular(Exception):
    """A request, or an endpoint, that is the framework's to deal with."""


def shortcut_of(route: APIRoute, broken: str) -> Shortcut | None:
    """Make the shortcut to a route's endpoint. Return None if it asks for anything unusual.

    `broken` is the key of a request's scope under which a body that cannot be read leaves its error.
    """
    returned: object = route.endpoint.__annotations__.get("return", ...)
    is_response = isinstance(returned, type) and issubclass(returned, Response)
    if not is_response and (returned, route.status_code) != (None, _EMPTY):
        return None
    try:
        return _Shortcut(route, broken).answer
    except _Irregular:
        return None


class _Shortcut:
    def __init__(self, route: APIRoute, broken: str) -> None:
        known: Any = route.dependant
        made: Any = route
        _refuse_unusual(known)
        bodies = known.body_params
        if known.cookie_params or len(bodies) > 1 or (bodies and made._embed_body_fields):
            raise _Irregular
        self._endpoint: Callable[..., Awaitable[Response | None]] = route.endpoint
        self._broken = broken
        self._path = [_parameter(field) for field in known.path_params]
        self._query = [_parameter(field) for field in known.query_params]
        self._headers = [_parameter(field) for field in known.header_params]
        self._body: str | None = bodies[0].name if bodies else None
        self._dependencies = [_dependency(each) for each in known.dependencies]
        self._request: str | None = known.http_connection_param_name or known.request_param_name

    async def answer(self, request: Request) -> Response | None:
        """Answer a request. Return None if it is not as it should be; nothing has been done then but reading it."""
        try:
            values = {
                **_read(self._path, request.path_params),
                **_read(self._query, request.query_params),
                **_read(self._headers, request.headers),
            }
            if self._body is not None:
                values[self._body] = await self._read_body(request)
        except _Irregular:
            return None
        for dependency in self._dependencies:
            found = await dependency.call(**{dependency.request: request})
            if dependency.name is not None:
                values[dependency.name] = found
        if self._request is not None:
            values[self._request] = request
        return await self._endpoint(**values) or _empty()

    async def _read_body(self, request: Request) -> Any:
        if not await request.body():
            raise _Irregular
        value = await request.json()
        if value is None or self._broken in request.scope:
            raise _Irregular
        return value


def _empty() -> Response:
    """Make the answer of an endpoint that has nothing to say, as the framework makes it. Return it."""
    response = JSONResponse(None, _EMPTY)
    response.body = b""
    return response


def _read(parameters: Sequence[_Parameter], given: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for parameter in parameters:
        value = given.get(parameter.alias)
        if value is None:
            if parameter.default is ...:
                raise _Irregular
            values[parameter.name] = parameter.default
            continue
        values[parameter.name], wrong = parameter.validate(value)
        if wrong:
            raise _Irregular
    return values


def _parameter(field: Any) -> _Parameter:
    info = field.field_info
    default = ... if info.is_required() else info.default
    if info.validation_alias not in {None, field.alias} or info.default_factory is not None or info.validate_default:
        raise _Irregular
    if not _is_simple(info.annotation) or not (default is ... or isinstance(default, _SIMPLE)):
        raise _Irregular
    return _Parameter(field.name, field.alias, default, field.validate)


def _is_simple(annotation: Any) -> bool:
    """Return True if a value of an annotation is made of one text."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _is_simple(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return all(map(_is_simple, get_args(annotation)))
    return origin is Literal or annotation in _SIMPLE


def _dependency(known: Any) -> _Dependency:
    _refuse_unusual(known)
    request = known.http_connection_param_name or known.request_param_name
    others = (known.path_params, known.query_params, known.header_params, known.cookie_params, known.body_params)
    if request is None or any(others) or known.dependencies:
        raise _Irregular
    return _Dependency(known.name, known.call, request)


def _refuse_unusual(known: Any) -> None:
    """Raise _Irregular unless an endpoint or a dependency is a coroutine that asks for usual things."""
    call = known.call
    if not (inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__)):
        raise _Irregular
    if known.concurrency is not None or any(getattr(known, f"{name}_param_name") is not None for name in _NOT_ONCE):
        raise _Irregular
