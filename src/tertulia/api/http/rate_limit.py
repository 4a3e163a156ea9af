"""The contract's rate limits: so many requests a minute, of one user to one endpoint.

They are checked before the request's fields are, as dependencies of a route:
`@router.get(..., dependencies=[Depends(rate_limit(20))])`.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable

from fastapi import Request
from starlette.datastructures import MutableHeaders
from starlette.types import Scope

from tertulia.api.http.deps import find_claims, find_organization, find_runtime
from tertulia.auth.limits import Allowance, Limiter
from tertulia.errors import Unauthorized

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


FAILURES_A_MINUTE = 20
"""Sign-ins that may fail with one key from one address, whoever the users are."""


def sign_in_limit(per_minute: int) -> Callable[..., AsyncGenerator[None]]:
    """Make a dependency as `rate_limit` does, for those who have no token yet. Return it.

    A backend signs in many users with one key from one address, so what is limited is each user of a key, and what
    fails with a key from an address.
    """

    async def limit(request: Request) -> AsyncGenerator[None]:
        runtime = await find_runtime(request)
        organization = await find_organization(request)
        if runtime.limiter is None:
            yield
            return
        # The caller makes up key and user, so only their beginnings count: a UUID has 36 characters.
        key, user = (request.headers.get(name, "")[:40] for name in ("x-api-key-id", "x-user-id"))
        failures = (
            _endpoint(request),
            "failed",
            organization.org_id,
            key,
            request.client.host if request.client else "",
        )
        runtime.limiter.standing(FAILURES_A_MINUTE, *failures).refuse()
        count(request.scope, runtime.limiter, per_minute, _endpoint(request), organization.org_id, key, user)
        try:
            yield
        except Unauthorized:
            runtime.limiter.hit(FAILURES_A_MINUTE, *failures)
            raise

    return limit


def _endpoint(request: Request) -> str:
    return f"{request.method} {request.scope['route'].path}"
