"""The organization itself: its name is public, the rest is for permitted callers."""

from pydantic import BaseModel

from tertulia.api.http.deps import MaybeActor, Organization
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import Preferences
from tertulia.auth.permissions import Permission
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
