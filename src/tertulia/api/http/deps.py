"""What endpoints depend on: the runtime, the organization of the path, and the caller.

They are found in this order, so an unknown organization (404) comes before bad credentials (401), and both before a
wrong field (422). Each is found once for a request and kept in its scope: what a framework resolves as a tree of
dependencies costs more than the work itself.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from tertulia.api.http.limiter import Limiter
from tertulia.auth import credentials
from tertulia.auth.actor import Actor, Actors, StaleActor
from tertulia.auth.secrets import SecretBox
from tertulia.auth.tokens import Claims, Tokens
from tertulia.background.maintenance import Maintenance
from tertulia.engine.turns.conversations import Conversations
from tertulia.errors import Forbidden, Unauthorized
from tertulia.settings import Settings
from tertulia.storage.clusters import Clusters
from tertulia.storage.database.units import Database


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a process has open; `app.state.runtime`. Without a limiter, there are no rate limits."""

    settings: Settings
    clusters: Clusters
    box: SecretBox
    tokens: Tokens
    actors: Actors
    limiter: Limiter | None
    conversations: Conversations
    maintenance: Maintenance


@dataclass(frozen=True, slots=True)
class OrganizationScope:
    """The organization of the path, and the cluster that holds it."""

    org_id: str
    database: Database

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes that a permission's conditions can name of a thing about to be made here."""
        return {"org_id": self.org_id}


_ORGANIZATION = "tertulia.organization"
_CLAIMS = "tertulia.claims"
_ACTOR = "tertulia.actor"


async def find_runtime(connection: HTTPConnection) -> Runtime:
    """What the process has open."""
    return connection.scope["app"].state.runtime


CurrentRuntime = Annotated[Runtime, Depends(find_runtime)]


async def find_organization(connection: HTTPConnection) -> OrganizationScope:
    """The organization of the path.

    Raises:
        NotFound: there is none, or not in the storage cluster that the request names.
        Unavailable: the installation is under maintenance.
    """
    scope = connection.scope
    found: OrganizationScope | None = scope.get(_ORGANIZATION)
    if found is None:
        runtime: Runtime = scope["app"].state.runtime
        runtime.maintenance.refuse()
        org_id = scope["path_params"]["organization"]
        named = connection.headers.get("x-mongo-cluster-name") or None
        found = scope[_ORGANIZATION] = OrganizationScope(org_id, await runtime.clusters.locate(org_id, named))
    return found


Organization = Annotated[OrganizationScope, Depends(find_organization)]
"""The organization of the path; 404 where there is none, 503 under maintenance."""


async def find_actor(connection: HTTPConnection) -> Actor:
    """The caller.

    Raises:
        Unauthorized: there are no valid credentials.
        Forbidden: they are for another organization.
    """
    actor: Actor | None = connection.scope.get(_ACTOR)
    if actor is None:
        organization = await find_organization(connection)
        claims = await find_claims(connection)
        runtime: Runtime = connection.scope["app"].state.runtime
        actor = await organization.database.read(runtime.actors.load, claims.org_id, claims.user_id)
        connection.scope[_ACTOR] = actor
    return actor


def forget_actor(connection: HTTPConnection) -> None:
    """Have the caller looked for anew, on a connection that lasts."""
    connection.scope.pop(_ACTOR, None)


async def find_claims(connection: HTTPConnection) -> Claims:
    """What the caller's token says; whether they are still there is not asked.

    Raises:
        Unauthorized: there are no valid credentials.
        Forbidden: they are for another organization.
    """
    scope = connection.scope
    claims: Claims | None = scope.get(_CLAIMS)
    if claims is None:
        organization = await find_organization(connection)
        runtime: Runtime = scope["app"].state.runtime
        claims = await credentials.authenticate(runtime.tokens, credentials.read(connection.headers))
        if claims.org_id != organization.org_id:
            raise Forbidden("This token is for another organization.")
        scope[_CLAIMS] = claims
    return claims


T = TypeVar("T")


class RecentActor:
    """The caller of a busy endpoint, from memory where they are known: no query before the one that claims a turn.

    It brings the runtime and the organization along: one dependency costs less than three.
    """

    def __init__(self, connection: HTTPConnection, runtime: Runtime, organization: OrganizationScope) -> None:
        self._connection = connection
        self.runtime = runtime
        self.organization = organization

    async def act(self, do: Callable[[Actor], Awaitable[T]]) -> T:
        """Do it as the caller. Where memory turns out to be stale, or says no, it is done as who they are now.

        Raises:
            Unauthorized, Forbidden: see find_actor.
        """
        actors = self.runtime.actors
        claims = await find_claims(self._connection)
        actor = actors.find(claims.org_id, claims.user_id)
        if actor is not None:
            try:
                return await do(actor)
            except (StaleActor, Forbidden):
                pass
        actor = await find_actor(self._connection)
        actors.remember(actor)
        return await do(actor)


class _Caller(SecurityBase):
    """Finds the caller, and is how the OpenAPI document knows that an operation wants credentials."""

    def __init__(self) -> None:
        self.scheme_name = "Bearer-Authorization"
        self.model = HTTPBearerModel(
            bearerFormat="JWT",
            description="A token of `signin_with_api_key`. As the password of Basic (the username is "
            "`ORGANIZATION_USER`) and as a WebSocket subprotocol it is accepted too; `X-ORG-ID` may name its issuer.",
        )

    async def __call__(self, connection: HTTPConnection) -> Any:
        return await find_actor(connection)


class _RecentCaller(_Caller):
    async def __call__(self, connection: HTTPConnection) -> Any:
        await find_claims(connection)
        return RecentActor(connection, await find_runtime(connection), await find_organization(connection))


class _MaybeCaller(_Caller):
    async def __call__(self, connection: HTTPConnection) -> Any:
        try:
            return await find_actor(connection)
        except (Unauthorized, Forbidden):
            return None


CurrentActor = Annotated[Actor, Depends(_Caller())]
"""The caller; 401 without valid credentials, 403 with those of another organization."""

CurrentRecentActor = Annotated[RecentActor, Depends(_RecentCaller())]
"""The caller of a busy endpoint; 401 without valid credentials, 403 with those of another organization."""

MaybeActor = Annotated[Actor | None, Depends(_MaybeCaller())]
"""The caller of a public endpoint: nobody, where there are no credentials that hold for this organization."""
