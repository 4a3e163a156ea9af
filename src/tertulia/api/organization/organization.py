"""The organization itself: its name is public, the rest is for permitted callers."""

import re
from dataclasses import replace
from functools import partial
from typing import Annotated

import structlog
from fastapi import Depends, Header, Query, Request
from pydantic import Base64Bytes, BaseModel, Field, StringConstraints
from sqlalchemy.engine import Connection

from tertulia.api.http.deps import CurrentActor, CurrentFounder, CurrentRuntime, MaybeActor, Organization
from tertulia.api.http.rate_limit import count, rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import NewPreferences, Preferences, Text256
from tertulia.api.http.warnings import warn
from tertulia.auth import roles
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.background.jobs import Work, renewed
from tertulia.errors import BadRequest, Conflict, Unprocessable
from tertulia.ids import ORGANIZATION_ID_PATTERN, RESERVED_ORGANIZATIONS
from tertulia.storage import organization as organizations
from tertulia.storage import user as users
from tertulia.storage.clusters import claim_entry
from tertulia.storage.database.dialect import lock_schema
from tertulia.storage.organization import get_organization
from tertulia.storage.organization_erasure import begin_deletion, erase_organization
from tertulia.storage.user import NewUser, User

router = contract_router("/organization", "Organization")

_log = structlog.get_logger(__name__)


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


class NewUserDimension(BaseModel):
    """A matter that models of users are to say something about."""

    description: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
    tags: Annotated[list[Text256], Field(max_length=50)]


# --- Create ----------------------------------------------------------------------------------------------------------


async def may_found(request: Request, founder: CurrentFounder, organization: str) -> None:
    """Refuse who may not make an organization, before anything else is looked at; they are counted as all are."""
    await count(request, "create-organization", 5, founder.actor.org_id, founder.actor.user_id)
    founder.actor.require(Permission.ORGANIZATION_CREATE_ORGANIZATION, {"org_id": organization})


class NewOrganization(BaseModel):
    """An organization to make. This server keeps no pictures, but they are to be pictures all the same."""

    org_name: Text256
    user_dimensions: Annotated[list[NewUserDimension], Field(max_length=50)]
    logo: Base64Bytes
    square_logo: Base64Bytes
    favicon: Base64Bytes
    azure_devops_team_name: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20, pattern=r"^[a-z-]+$")
    ]
    default_user_preferences: NewPreferences = NewPreferences()


class CreatedOrganization(BaseModel):
    org_id: str


@router.put(
    "/",
    operation_id="create-organization",
    summary="Create an organization",
    status_code=201,
    dependencies=[Depends(may_found)],
)
async def create_organization(
    request: Request,
    runtime: CurrentRuntime,
    founder: CurrentFounder,
    organization: str,
    x_mongo_cluster_name: Annotated[str, Header()],
    body: NewOrganization,
) -> CreatedOrganization:
    """Make an organization in a storage cluster, with the default roles and its maker as its super administrator."""
    if not re.fullmatch(ORGANIZATION_ID_PATTERN, organization):
        raise Unprocessable("An identifier is letters, digits and hyphens, 63 at most.", ("path", "organization"))
    if organization.lower() in RESERVED_ORGANIZATIONS:
        raise BadRequest(f"The identifier {organization} is reserved.")
    clusters, taken = runtime.clusters, f"The organization {organization} is there already, or being deleted."
    database = clusters.open(x_mongo_cluster_name)
    for name in clusters.names:  # also one that the directory does not know
        if name != x_mongo_cluster_name and await clusters.open(name).read(organizations.is_taken, organization):
            raise Conflict(taken)
    holder = await clusters.default.write(claim_entry, organization, x_mongo_cluster_name)
    if holder != x_mongo_cluster_name:
        raise Conflict(taken)
    maker = await founder.home.read(users.get_user, founder.actor.org_id, founder.actor.user_id)
    found = partial(_found, org_id=organization, body=body, maker=maker)
    recorder = founder.recorder(organization)
    await recorder.prepare()
    if not await database.write(recorder.around(found)):
        raise Conflict(taken)
    warn(request, "logo, square_logo, favicon, azure_devops_team_name: this server does not keep them.")
    return CreatedOrganization(org_id=organization)


def _found(connection: Connection, org_id: str, body: NewOrganization, maker: User) -> bool:
    lock_schema(connection)  # of several at once, one makes it
    if organizations.is_taken(connection, org_id):
        return False
    organizations.insert_organization(
        connection,
        org_id,
        body.org_name,
        preferences=body.default_user_preferences.model_dump(),
        dimensions=[dimension.model_dump() for dimension in body.user_dimensions],
    )
    role_id = roles.insert_builtin(connection, org_id)[roles.SUPER_ADMINISTRATOR]
    preferences = organizations.get_organization(connection, org_id).default_user_preferences
    users.insert_user(connection, org_id, NewUser(role_id, maker.first_name, maker.last_name, maker.email, preferences))
    return True


# --- Delete ----------------------------------------------------------------------------------------------------------


@router.delete(
    "/",
    operation_id="delete-organization",
    summary="Delete an organization",
    status_code=204,
    dependencies=[Depends(rate_limit(5))],
)
async def delete_organization(
    runtime: CurrentRuntime,
    organization: Organization,
    actor: CurrentActor,
    dry_run: Annotated[bool, Query(description="Only see if it would be deleted.")] = False,
) -> None:
    """Delete an organization with all that it has. It is gone at once; if an error comes, ask again until none does."""
    actor.require(Permission.ORGANIZATION_DELETE_ORGANIZATION, organization.attributes)
    if dry_run:
        return
    job = await organization.database.write(begin_deletion, organization.org_id, actor.user_id)
    # The audit log is deleted with the organization, so the process's log has to name the user.
    _log.warning("organization deleted", organization=organization.org_id, user=actor.user_id)
    async with renewed(Work(organization.storage, job)):
        await erase_organization(runtime.clusters, organization.storage, organization.org_id)


# --- Modify ----------------------------------------------------------------------------------------------------------


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
