"""Dependencies of endpoints: the runtime, the organization of the path, and the caller.

They are found in this order, so an unknown organization (404) comes before bad credentials (401), and both before a
wrong field (422). Each is found once for a request and kept in its scope: a tree of dependencies that a framework
resolves costs more than the work itself.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

from fastapi import Depends
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from tertulia.api.http.audit import Recorder, audited
from tertulia.auth import credentials
from tertulia.auth.actor import Actor, StaleActor
from tertulia.auth.tokens import Claims
from tertulia.errors import Conflict, Forbidden, Unauthorized
from tertulia.runtime import Runtime
from tertulia.storage.database.units import Database


@dataclass(frozen=True, slots=True)
class OrganizationScope:
    """An organization, and the database of the cluster that holds it.

    `database` brings the audit log a line for what is changed with it; `storage` does not, and is for the steps before
    a change and after it.
    """

    org_id: str
    database: Database
    storage: Database

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes that a permission's conditions can name of a thing about to be made here."""
        return {"org_id": self.org_id}


_ORGANIZATION = "tertulia.organization"
_CLAIMS = "tertulia.claims"
_ACTOR = "tertulia.actor"


async def find_runtime(connection: HTTPConnection) -> Runtime:
    """Find the belongings of the process. Return them."""
    return connection.scope["app"].state.runtime


CurrentRuntime = Annotated[Runtime, Depends(find_runtime)]


async def find_organization(connection: HTTPConnection) -> OrganizationScope:
    """Find the organization of the path. Return it.

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
        storage = await runtime.clusters.locate(org_id, named)
        database = audited(storage, connection, lambda: make_recorder(connection, org_id))
        found = scope[_ORGANIZATION] = OrganizationScope(org_id, database, storage)
    return found


def make_recorder(connection: HTTPConnection, org_id: str) -> Recorder:
    """Make a writer of the audit log of an organization, for what a request asks. Return it."""
    runtime: Runtime = connection.scope["app"].state.runtime
    return Recorder(connection, runtime.audit_key, org_id, lambda: connection.scope.get(_CLAIMS))


Organization = Annotated[OrganizationScope, Depends(find_organization)]
"""The organization of the path; 404 if there is none, 503 under maintenance."""


async def find_actor(connection: HTTPConnection) -> Actor:
    """Find the caller. Return them with the role that they have now.

    Raises:
        Unauthorized: there are no valid credentials.
        Forbidden: they are for another organization.
    """
    actor: Actor | None = connection.scope.get(_ACTOR)
    if actor is None:
        organization = await find_organization(connection)
        claims = await find_claims(connection)
        runtime: Runtime = connection.scope["app"].state.runtime
        actor = await organization.database.read(runtime.actors.load, claims)
        connection.scope[_ACTOR] = actor
    return actor


def forget_actor(connection: HTTPConnection) -> None:
    """Have the caller looked for anew by the next that asks."""
    connection.scope.pop(_ACTOR, None)


async def find_claims(connection: HTTPConnection) -> Claims:
    """Find the claims of the caller's token. Return them; the user may be gone by now.

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


ATTEMPTS = 3
"""Attempts to act as a caller whose role changes meanwhile."""


class Caller:
    """The caller of a busy endpoint, remembered: no query comes before the one that claims a turn.

    A caller brings the runtime and the organization along: one dependency costs less than three.
    """

    def __init__(
        self, connection: HTTPConnection, runtime: Runtime, organization: OrganizationScope, claims: Claims
    ) -> None:
        self._connection = connection
        self.runtime = runtime
        self.organization = organization
        self.claims = claims

    @property
    def database(self) -> Database:
        """The database of the caller's organization."""
        return self.organization.database

    @property
    def recorder(self) -> Recorder:
        """A writer of the audit log for what the caller asks."""
        return make_recorder(self._connection, self.organization.org_id)

    async def act(self, work: Callable[[Actor], Awaitable[T]]) -> T:
        """Run `work` as the remembered caller. If the memory is stale or refuses, load the caller and run it again.

        Return its result.

        Raises:
            Unauthorized, Forbidden: see find_actor.
            Conflict: the caller's role changes all the time.
        """
        remembered = self.runtime.actors.find(self.claims)
        if remembered is not None:
            with suppress(StaleActor, Forbidden):
                return await work(remembered)
        return await self.act_now(work)

    async def act_now(self, work: Callable[[Actor], Awaitable[T]]) -> T:
        """Run `work` as the caller is now, and again if their role changes before it is done. Return its result.

        Raises:
            Unauthorized, Forbidden: see find_actor.
            Conflict: the caller's role changes all the time.
        """
        for _ in range(ATTEMPTS):
            actor = await find_actor(self._connection)
            self.runtime.actors.remember(actor)
            with suppress(StaleActor):
                return await work(actor)
            forget_actor(self._connection)  # another role meanwhile, or gone
        raise Conflict("The user's role is being changed.")


async def find_caller(connection: HTTPConnection) -> Caller:
    """Find the caller without a query. Return them; the user may be gone by now.

    Raises:
        Unauthorized, Forbidden: see find_claims.
    """
    claims = await find_claims(connection)
    return Caller(connection, await find_runtime(connection), await find_organization(connection), claims)


@dataclass(frozen=True, slots=True)
class Founder:
    """The caller of an operation on an organization that is not there yet: a user of their own one."""

    actor: Actor
    home: Database
    """The database of their own organization."""
    connection: HTTPConnection

    def recorder(self, org_id: str) -> Recorder:
        """Make a writer of the audit log of the new organization. Return it."""
        return make_recorder(self.connection, org_id)


async def find_founder(connection: HTTPConnection) -> Founder:
    """Find a caller who names an organization that may not be there. Return them.

    Raises:
        Unauthorized: there are no valid credentials.
        Unavailable: the installation is under maintenance.
    """
    runtime: Runtime = connection.scope["app"].state.runtime
    runtime.maintenance.refuse()
    claims = await credentials.authenticate(runtime.tokens, credentials.read(connection.headers))
    home = await runtime.clusters.locate(claims.org_id, None)
    connection.scope[_CLAIMS] = claims
    return Founder(await home.read(runtime.actors.load, claims), home, connection)


class _CurrentActor(SecurityBase):
    """A dependency on the caller, by which the OpenAPI document knows that an operation wants credentials."""

    def __init__(self) -> None:
        self.scheme_name = "Bearer-Authorization"
        self.model = HTTPBearerModel(
            bearerFormat="JWT",
            description="A token of `signin_with_api_key`. As the password of Basic (the username is "
            "`ORGANIZATION_USER`) and as a WebSocket subprotocol it is accepted too; `X-ORG-ID` may name its issuer.",
        )

    async def __call__(self, connection: HTTPConnection) -> Any:
        return await find_actor(connection)


class _CurrentFounder(SecurityBase):
    def __init__(self) -> None:
        self.scheme_name, self.model = "Bearer-Authorization", _CurrentActor().model

    async def __call__(self, connection: HTTPConnection) -> Any:
        return await find_founder(connection)


class _CurrentCaller(_CurrentActor):
    async def __call__(self, connection: HTTPConnection) -> Any:
        return await find_caller(connection)


class _MaybeActor(_CurrentActor):
    async def __call__(self, connection: HTTPConnection) -> Any:
        try:
            return await find_actor(connection)
        except (Unauthorized, Forbidden):
            return None


def needs_caller(dependency: object) -> bool:
    """Return whether a dependency is one on a caller, without whom there is no answer."""
    return isinstance(dependency, _CurrentActor) and not isinstance(dependency, _MaybeActor)


CurrentActor = Annotated[Actor, Depends(_CurrentActor())]
"""The caller; 401 without valid credentials, 403 with those of another organization."""

CurrentCaller = Annotated[Caller, Depends(_CurrentCaller())]
"""The caller of a busy endpoint; 401 without valid credentials, 403 with those of another organization."""

MaybeActor = Annotated[Actor | None, Depends(_MaybeActor())]
"""The caller of a public endpoint; None without credentials that hold for this organization."""

CurrentFounder = Annotated[Founder, Depends(_CurrentFounder())]
"""The caller of an operation on an organization that is not there yet; 401 without valid credentials."""
