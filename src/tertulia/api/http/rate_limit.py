"""The contract's rate limits: so many requests a minute, of one user to one endpoint.

They are checked before the request's fields are, as dependencies of a route:
`@router.get(..., dependencies=[Depends(rate_limit(20))])`.
"""

from collections.abc import Awaitable, Callable

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import Scope

from tertulia.api.http.deps import find_claims, find_organization, find_runtime
from tertulia.auth.limits import Allowance, Limiter

_ALLOWANCE = "tertulia.allowance"
"""The allowance of a limited request in its scope."""


def count(scope: Scope, limiter: Limiter, per_minute: int, *who: str) -> None:
    """Count a request of somebody to something. Its response tells their allowance, whatever response it will be.

    Raises:
        TooManyRequests: it is one too many.
    """
    allowance = scope[_ALLOWANCE] = limiter.hit(per_minute, *who)
    allowance.refuse()


def tell_allowance(scope: Scope, headers: MutableHeaders) -> None:
    """Put the allowance of a limited request into the headers of its response."""
    allowance: Allowance | None = scope.get(_ALLOWANCE)
    if allowance is not None:
        headers["X-RateLimit-Limit"] = str(allowance.limit)
        headers["X-RateLimit-Remaining"] = str(allowance.remaining)
        headers["X-RateLimit-Reset"] = str(allowance.reset_at)


def rate_limit(per_minute: int) -> Callable[..., Awaitable[None]]:
    """Make a dependency that lets a user call its endpoint so many times a minute. Return it."""

    async def limit(request: Request) -> None:
        runtime = await find_runtime(request)
        if runtime.limiter is not None:
            caller = await find_claims(request)
            count(request.scope, runtime.limiter, per_minute, _endpoint(request), caller.org_id, caller.user_id)

    return limit


def sign_in_limit(per_minute: int) -> Callable[..., Awaitable[None]]:
    """Make a dependency as `rate_limit` does, for an API key and the address that it is used from. Return it."""

    async def limit(request: Request) -> None:
        runtime = await find_runtime(request)
        organization = await find_organization(request)
        if runtime.limiter is not None:
            x_api_key_id = request.headers.get("x-api-key-id", "")
            address = request.client.host if request.client else ""
            # The caller makes up the id, so only its beginning counts: a UUID has 36 characters.
            who = (organization.org_id, x_api_key_id[:40], address)
            count(request.scope, runtime.limiter, per_minute, _endpoint(request), *who)

    return limit


def _endpoint(request: Request) -> str:
    return f"{request.method} {request.scope['route'].path}"
