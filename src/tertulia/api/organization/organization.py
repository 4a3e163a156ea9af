"""The organization itself: its name is public, the rest is for permitted callers."""

from dataclasses import replace
from typing import Annotated

from fastapi import Depends
from pydantic import BaseModel, Field, StringConstraints
from sqlalchemy.engine import Connection

from tertulia.api.http.deps import CurrentActor, MaybeActor, Organization
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import NewPreferences, Preferences, Text256
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.errors import Unprocessable
from tertulia.storage import organization as organizations
from tertulia.storage.organization import get_organization

router = contract_router("/organization", "Organization")


class OrganizationDetails(BaseModel):
    """An organization; fields that the caller may not see are null."""

    org_id: str
    org_name: str
    default_user_preferences: Preferences | None
    tenant_id: str | None


@router.get("/", operation_id="get-organization", summary="Get an organization")
async def get_organization_details(organization: Organization, actor: MaybeActor) -> OrganizationDetails:
    found = await organization.database.read(get_organization, organization.org_id)
    allowed = actor is not None and actor.may(Permission.ORGANIZATION_GET_ORGANIZATION_DETAILS, found.attributes)
    return OrganizationDetails(
        org_id=found.org_id,
        org_name=found.name,
        default_user_preferences=Preferences(**found.default_user_preferences) if allowed else None,
        tenant_id=found.tenant_id if allowed else None,
    )


# --- Modify ----------------------------------------------------------------------------------------------------------


class NewUserDimension(BaseModel):
    """A matter that models of users are to say something about."""

    description: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
    tags: Annotated[list[Text256], Field(max_length=50)]


PICTURES = ("logo", "square_logo", "favicon")


class OrganizationChanges(BaseModel):
    """Changes of an organization. Null changes nothing; this server keeps no pictures."""

    logo: str | None = None
    square_logo: str | None = None
    favicon: str | None = None
    user_dimensions: Annotated[list[NewUserDimension], Field(min_length=1, max_length=50)] | None = None
    default_user_preferences: NewPreferences | None = None


@router.post(
    "/",
    operation_id="modify-organization",
    summary="Modify an organization",
    status_code=204,
    dependencies=[Depends(rate_limit(10))],
)
async def modify_organization(organization: Organization, actor: CurrentActor, body: OrganizationChanges) -> None:
    """Change the dimensions of models of users, or the preferences that new users begin with."""
    await organization.database.write(_modify, actor, body)


def _modify(connection: Connection, actor: Actor, body: OrganizationChanges) -> None:
    found = organizations.lock_organization(connection, actor.org_id)
    actor.require(Permission.ORGANIZATION_MODIFY_ORGANIZATION, found.attributes)
    for name in PICTURES:
        if getattr(body, name) is not None:
            raise Unprocessable("This server keeps no pictures of an organization.", ("body", name))
    if body.user_dimensions is not None:
        found = replace(found, user_dimensions=[dimension.model_dump() for dimension in body.user_dimensions])
    if body.default_user_preferences is not None:
        found = replace(found, default_user_preferences=body.default_user_preferences.model_dump())
    organizations.update_organization(connection, found)


# --- Dimensions ------------------------------------------------------------------------------------------------------


class Dimension(BaseModel):
    description: str
    tags: list[str]


class Dimensions(BaseModel):
    user_dimensions: list[Dimension]


@router.get(
    "/user_dimensions/",
    operation_id="get-user-dimensions",
    summary="Get the user dimensions of an organization",
    dependencies=[Depends(rate_limit(20))],
)
async def get_user_dimensions(organization: Organization, actor: CurrentActor) -> Dimensions:
    """List the matters that models of users are to say something about. Return them in their order."""
    found = await organization.database.read(get_organization, organization.org_id)
    actor.require(Permission.ORGANIZATION_GET_ORGANIZATION_DETAILS, found.attributes)
    return Dimensions(user_dimensions=[Dimension.model_validate(item) for item in found.user_dimensions or ()])
