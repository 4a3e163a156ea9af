"""Retention: how long the organization keeps conversations, recordings, traces and memories."""

from dataclasses import asdict
from typing import Annotated

from fastapi import Depends
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.engine import Connection

from tertulia.api.http.deps import CurrentActor, Organization
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.storage import organization as organizations
from tertulia.storage import retention
from tertulia.storage.retention import Retention

router = contract_router("/organization/retention", "Organization")

Days = Annotated[int, Field(ge=1, le=36_500, strict=True)] | None


class RetentionRule(BaseModel):
    """The days for which things are kept; null: without end, but traces 30 days at most.

    All are said anew, so a misspelt one is refused: it would keep without end what was to go.
    """

    model_config = ConfigDict(extra="forbid")

    conversations_days: Days = None
    recordings_days: Days = None
    traces_days: Annotated[int, Field(ge=1, le=30, strict=True)] | None = None
    memories_days: Days = None


@router.get("/", operation_id="get-retention", summary="Get the retention", dependencies=[Depends(rate_limit(20))])
async def get_retention(organization: Organization, actor: CurrentActor) -> RetentionRule:
    """Tell how long things are kept. Return the days for each kind."""
    actor.require(Permission.ORGANIZATION_GET_ORGANIZATION_DETAILS, organization.attributes)
    found = await organization.database.read(retention.get_retention, organization.org_id)
    return RetentionRule(**asdict(found))


@router.put(
    "/",
    operation_id="put-retention",
    summary="Set the retention",
    status_code=204,
    dependencies=[Depends(rate_limit(10))],
)
async def put_retention(organization: Organization, actor: CurrentActor, body: RetentionRule) -> None:
    """Say how long things are kept, all of them anew. What is older already goes within minutes, for good."""
    await organization.database.write(_put, actor, Retention(**body.model_dump()))


def _put(connection: Connection, actor: Actor, rule: Retention) -> None:
    found = organizations.lock_organization(connection, actor.org_id)
    actor.require(Permission.ORGANIZATION_MODIFY_ORGANIZATION, found.attributes)
    retention.put_retention(connection, found.org_id, rule)
