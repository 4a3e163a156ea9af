"""What endpoints depend on: the runtime, the organization of the path, and the caller.

They are found in this order, so an unknown organization (404) comes before bad credentials (401), and both before a
wrong field (422).
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header
from fastapi.openapi.models import HTTPBearer as HTTPBearerModel
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from tertulia.api.limiter import Limiter
from tertulia.auth import credentials
from tertulia.auth.actor import Actor, load_actor
from tertulia.auth.credentials import Credentials
from tertulia.auth.secrets import SecretBox
from tertulia.auth.tokens import Tokens
from tertulia.background.maintenance import Maintenance
from tertulia.engine.conversations import Conversations
from tertulia.errors import Forbidden, Unauthorized
from tertulia.settings import Settings
from tertulia.storage.clusters import Clusters
from tertulia.storage.database import Database


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a process has open; `app.state.runtime`. Without a limiter, there are no rate limits."""

    settings: Settings
    clusters: Clusters
    box: SecretBox
    tokens: Tokens
    limiter: Limiter | None
    conversations: Conversations
    maintenance: Maintenance


@dataclass(frozen=True, slots=True)
class OrganizationScope:
    """The organization of the path, and the cluster that holds it."""

    org_id: str
    database: Database


class _CallerCredentials(SecurityBase):
    """Reads the credentials, and is how the OpenAPI document knows that an operation wants them."""

    def __init__(self) -> None:
        self.scheme_name = "Bearer-Authorization"
        self.model = HTTPBearerModel(
            bearerFormat="JWT",
            description="A token of `signin_with_api_key`. As the password of Basic (the username is "
            "`ORGANIZATION_USER`) and as a WebSocket subprotocol it is accepted too; `X-ORG-ID` may name its issuer.",
        )

    async def __call__(self, connection: HTTPConnection) -> Credentials | None:
        return credentials.read(connection.headers)


async def _runtime(connection: HTTPConnection) -> Runtime:
    return connection.app.state.runtime


CurrentRuntime = Annotated[Runtime, Depends(_runtime)]


async def _organization(
    runtime: CurrentRuntime,
    organization: str,
    x_mongo_cluster_name: Annotated[
        str | None, Header(description="The storage cluster to look in; usually not needed.")
    ] = None,
) -> OrganizationScope:
    runtime.maintenance.refuse()
    database = await runtime.clusters.locate(organization, x_mongo_cluster_name or None)
    return OrganizationScope(organization, database)


Organization = Annotated[OrganizationScope, Depends(_organization)]
"""The organization of the path; 404 where there is none, 503 under maintenance."""

_Credentials = Annotated[Credentials | None, Depends(_CallerCredentials())]


async def _actor(runtime: CurrentRuntime, organization: Organization, shown: _Credentials) -> Actor:
    claims = await credentials.authenticate(runtime.tokens, shown)
    if claims.org_id != organization.org_id:
        raise Forbidden("This token is for another organization.")
    return await organization.database.read(load_actor, claims.org_id, claims.user_id)


CurrentActor = Annotated[Actor, Depends(_actor)]
"""The caller; 401 without valid credentials, 403 with those of another organization."""


async def _maybe_actor(runtime: CurrentRuntime, organization: Organization, shown: _Credentials) -> Actor | None:
    try:
        return await _actor(runtime, organization, shown)
    except (Unauthorized, Forbidden):
        return None


MaybeActor = Annotated[Actor | None, Depends(_maybe_actor)]
"""The caller of a public endpoint: nobody, where there are no credentials that hold for this organization."""
