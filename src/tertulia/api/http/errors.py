"""Errors as answers: `{"detail": text}`.

For 422 `detail` is the list of problems in FastAPI's form, and `message` says them in one text: the official clients
show nothing but that.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from tertulia import problems
from tertulia.api.http.routing import BROKEN_BODY, refuse_nul_in_path
from tertulia.errors import MethodNotAllowed, ModelError, NotFound, TertuliaError, Unprocessable

_log = structlog.get_logger(__name__)

E = TypeVar("E", bound=Exception)


def install(app: FastAPI) -> None:
    """Answer every known error of an application in the one form; `middleware.LastResort` answers the unknown ones."""
    _answer_kind(app, TertuliaError, _tertulia_error)
    _answer_kind(app, RequestValidationError, _validation_error)
    _answer_kind(app, HTTPException, _http_error)


def answer(error: TertuliaError) -> JSONResponse:
    """Write an error of ours as an answer. Return the response."""
    if isinstance(error, Unprocessable):
        return JSONResponse({"detail": error.problems, "message": error.message}, error.status, error.headers)
    return JSONResponse({"detail": error.detail}, error.status, error.headers)


def _answer_kind(app: FastAPI, kind: type[E], write: Callable[[Request, E], JSONResponse]) -> None:
    """Answer the errors of one kind; Starlette's handlers have no type for that."""

    async def handle(request: Request, error: Exception) -> JSONResponse:
        return write(request, cast("E", error))

    app.add_exception_handler(kind, handle)


def _tertulia_error(_request: Request, error: TertuliaError) -> JSONResponse:
    if isinstance(error, ModelError):
        _log.warning("model failed", kind=type(error).__name__, reason=error.reason)
    return answer(error)


def _validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
    """Answer with what is wrong and where. Return a response without what was sent: it may be a secret."""
    broken: Unprocessable | None = request.scope.get(BROKEN_BODY)
    errors = [item for item in error.errors() if broken is None or item["loc"][0] != "body"]
    found = problems.of_request(errors, error.body)
    return answer(Unprocessable.listing([*found, *(broken.problems if broken is not None else ())]))


def _http_error(request: Request, error: HTTPException) -> JSONResponse:
    """Answer an error of the framework, which wraps ours if reading a body raised one. Return the response."""
    if isinstance(error.__cause__, TertuliaError):
        return answer(error.__cause__)
    if error.status_code == NotFound.status:
        return answer(NotFound(error.detail))
    if error.status_code == MethodNotAllowed.status:
        try:
            refuse_nul_in_path(request)  # what has one is no identifier, whatever the method
        except Unprocessable as wrong:
            return answer(wrong)
        return answer(MethodNotAllowed(error.detail, _methods_of(request)))
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


def _methods_of(request: Request) -> set[str]:
    """Collect the methods of a request's path. Return them all; the framework names those of the first route only."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    return {name for route in routes if route.path_regex.match(request.scope["path"]) for name in route.methods or ()}
