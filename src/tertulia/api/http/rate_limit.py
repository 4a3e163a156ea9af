"""The contract's rate limits: so many requests a minute, of one user to one endpoint.

They are checked before the request's fields are, as dependencies of a route:
`@router.get(..., dependencies=[Depends(rate_limit(20))])`.
"""

from collections.abc import Awaitable, Callable

from fastapi import Request

from tertulia.api.http.deps import find_claims, find_organization, find_runtime


def rate_limit(per_minute: int) -> Callable[..., Awaitable[None]]:
    """A dependency that lets a user call its endpoint so many times a minute."""

    async def limit(request: Request) -> None:
        runtime = await find_runtime(request)
        if runtime.limiter is not None:
            caller = await find_claims(request)
            runtime.limiter.hit(request.scope, per_minute, _endpoint(request), caller.org_id, caller.user_id)

    return limit


def sign_in_limit(per_minute: int) -> Callable[..., Awaitable[None]]:
    """As `rate_limit`, where there is no user yet: for an API key and the address that it is used from."""

    async def limit(request: Request) -> None:
        runtime = await find_runtime(request)
        organization = await find_organization(request)
        if runtime.limiter is not None:
            x_api_key_id = request.headers.get("x-api-key-id", "")
            address = request.client.host if request.client else ""
            # The caller makes up the id, so only its beginning counts: a UUID has 36 characters.
            who = (organization.org_id, x_api_key_id[:40], address)
            runtime.limiter.hit(request.scope, per_minute, _endpoint(request), *who)

    return limit


def _endpoint(request: Request) -> str:
    return f"{request.method} {request.scope['route'].path}"
