"""The contract's rate limits: so many requests a minute, of one user to one operation.

A route counts its caller before it reads anything else of the request:
`@router.get(..., dependencies=[Depends(rate_limit(20))])`.
"""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import Scope

from tertulia.api.http.client_address import limited_address
from tertulia.api.http.deps import find_organization, find_runtime
from tertulia.auth.limits import Allowance
from tertulia.auth.tokens import Claims
from tertulia.errors import Unauthorized

T = TypeVar("T")

_ALLOWANCE = "tertulia.allowance"
"""The allowance of a limited request in its scope."""


async def count(connection: HTTPConnection, operation: str, usual: int, *who: str) -> None:
    """Count a request of somebody to an operation, whose limit is the `usual` one unless a setting changes it.

    The response tells their allowance, whatever response it will be.

    Raises:
        TooManyRequests: it is one too many.
    """
    runtime = await find_runtime(connection)
    if runtime.limiter is None:
        return
    allowance = await runtime.limiter.hit(operation, usual, *who)
    if allowance is not None:
        connection.scope[_ALLOWANCE] = allowance
        allowance.refuse()


def headers_of(scope: Scope) -> dict[str, str]:
    """Make the headers that tell the allowance of a request. Return them; none if it is not limited."""
    allowance: Allowance | None = scope.get(_ALLOWANCE)
    if allowance is None:
        return {}
    return {
        "X-RateLimit-Limit": str(allowance.limit),
        "X-RateLimit-Remaining": str(allowance.remaining),
        "X-RateLimit-Reset": str(allowance.reset_at),
    }


def tell_allowance(scope: Scope, headers: MutableHeaders) -> None:
    """Put the allowance of a limited request into the headers of its response."""
    headers.update(headers_of(scope))


class RateLimit:
    """The limit of an operation, which its route takes out of the dependencies: they come when a body has been read."""

    def __init__(self, per_minute: int) -> None:
        self.per_minute = per_minute

    async def __call__(self) -> None:
        raise NotImplementedError("a route of the contract counts by itself")

    async def count(self, request: Request, operation: str, caller: Claims) -> None:
        """Count a request of a caller to the operation. Raises TooManyRequests if it is one too many."""
        await count(request, operation, self.per_minute, caller.org_id, caller.user_id)


def rate_limit(per_minute: int) -> RateLimit:
    """Make the limit that lets a user call an operation so many times a minute. Return it."""
    return RateLimit(per_minute)


FAILURES_A_MINUTE = 20
"""Sign-ins that may fail with one key from one address, whoever the users are."""

_FAILED = "sign-in-with-api-key:failed"


def sign_in_limit(per_minute: int) -> Callable[..., Awaitable[None]]:
    """Make a dependency that counts as `rate_limit` does, for those who have no token yet. Return it.

    A backend signs in many users with one key from one address, so what is limited is each user of a key, and what
    fails with a key from an address: see `attempt`.
    """

    async def limit(request: Request) -> None:
        runtime = await find_runtime(request)
        organization = await find_organization(request)
        if runtime.limiter is None:
            return
        route: Any = request.scope["route"]
        key, user = _said(request)
        failed = await runtime.limiter.allowance(_FAILED, FAILURES_A_MINUTE, *_failures(request, organization.org_id))
        if failed is not None:
            failed.refuse()
        await count(request, route.operation_id, per_minute, organization.org_id, key, user)

    return limit


async def attempt(request: Request, org_id: str, signing_in: Awaitable[T]) -> T:
    """Wait for a sign-in with a key. Return what it returns, unless too many have failed by then.

    A failure is counted before it is answered: a burst of guesses learns of as many as may fail and no more, however
    many are on their way at once. Sign-ins that succeed never delay each other.

    Raises:
        TooManyRequests: as many as may fail have failed before; the caller does not learn if this one was right.
    """
    limiter = (await find_runtime(request)).limiter
    if limiter is None:
        return await signing_in
    failures = _failures(request, org_id)
    try:
        signed_in = await signing_in
    except Unauthorized:
        failed = await limiter.hit(_FAILED, FAILURES_A_MINUTE, *failures)
        if failed is not None:
            failed.refuse()
        raise
    failed = await limiter.allowance(_FAILED, FAILURES_A_MINUTE, *failures)
    if failed is not None:
        failed.refuse()
    return signed_in


def _said(request: Request) -> tuple[str, str]:
    """Read the key and the user of a sign-in. Return their beginnings, for the caller makes them up."""
    key, user = (request.headers.get(name, "")[:40] for name in ("x-api-key-id", "x-user-id"))  # a UUID has 36
    return key, user


def _failures(request: Request, org_id: str) -> tuple[str, str, str]:
    return org_id, _said(request)[0], limited_address(request)


def public_limit(per_minute: int) -> Callable[..., Awaitable[None]]:
    """Make a dependency that lets an address ask an organization so many times a minute, without a token. Return it."""

    async def limit(request: Request) -> None:
        organization = await find_organization(request)
        route: Any = request.scope["route"]
        await count(request, route.operation_id, per_minute, organization.org_id, limited_address(request))

    return limit
