"""API keys of an organization: make, list, delete."""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.engine import Connection

from tertulia.api.http.deps import CurrentActor, CurrentCaller, Organization
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import Text256, UserInfo
from tertulia.auth import api_keys, roles
from tertulia.auth.actor import Actor, confirm_actor
from tertulia.auth.api_keys import LONGEST_LIFE, MOST_KEYS, SHORTEST_LIFE, IssuedKey
from tertulia.auth.permissions import Permission
from tertulia.errors import BadRequest
from tertulia.storage import api_key as stored_keys
from tertulia.storage import organization as organizations
from tertulia.storage.api_key import ListedKey
from tertulia.storage.role import hold_role

router = contract_router("/organization/api_key", "Organization")


class NewApiKey(BaseModel):
    name: Text256 | None
    duration: Annotated[timedelta, Field(ge=SHORTEST_LIFE, le=LONGEST_LIFE)]
    role_name: str = roles.ADMINISTRATOR


class CreatedApiKey(BaseModel):
    """A new key, which nobody can read again."""

    api_key_id: str
    api_key: str
    expires_at: datetime


@router.post(
    "/",
    operation_id="create-api-key",
    summary="Create an API key",
    status_code=201,
    dependencies=[Depends(rate_limit(5))],
)
async def create_api_key(caller: CurrentCaller, body: NewApiKey) -> CreatedApiKey:
    """Make a key for a role of lower rank than the caller's. It signs in users of lower rank than that role."""
    issued = await caller.act_now(lambda actor: caller.database.write(_create, actor, body))
    return CreatedApiKey(api_key_id=issued.api_key_id, api_key=issued.api_key, expires_at=issued.expires_at)


def _create(connection: Connection, actor: Actor, body: NewApiKey) -> IssuedKey:
    organizations.lock_organization(connection, actor.org_id)  # so that several at once do not make one too many
    role = hold_role(connection, actor.org_id, body.role_name)
    confirm_actor(connection, actor)
    actor.require(Permission.ORGANIZATION_CREATE_API_KEY, role.attributes)
    actor.require_rank_over(role.permission_grants, "You can make a key only for a role of lower rank than your own.")
    if stored_keys.count_api_keys(connection, actor.org_id) >= MOST_KEYS:
        raise BadRequest(f"The organization has {MOST_KEYS} API keys already: delete one.")
    return api_keys.issue(connection, actor.org_id, role.id, actor.author, body.name, body.duration)


class ApiKeyInstance(BaseModel):
    """A key, with the contract's `_id`; the key itself is not known any more."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)

    id: Annotated[str, Field(alias="_id")]
    name: str | None
    org_id: str
    created_at: datetime
    updated_at: datetime
    key_id: str
    expires_at: datetime
    creator: UserInfo
    role_id: str


class ApiKeyList(BaseModel):
    api_keys: list[ApiKeyInstance]


@router.get(
    "/",
    operation_id="get-api-keys",
    summary="Get API keys for the organization",
    dependencies=[Depends(rate_limit(10))],
)
async def get_api_keys(organization: Organization, actor: CurrentActor) -> ApiKeyList:
    """List the keys that the caller may see, the oldest first."""
    visible = actor.visible(Permission.ORGANIZATION_GET_API_KEY, stored_keys.COLUMNS)
    found = await organization.database.read(stored_keys.list_api_keys, organization.org_id, visible)
    return ApiKeyList(api_keys=[_instance(key) for key in found])


def _instance(key: ListedKey) -> ApiKeyInstance:
    return ApiKeyInstance(
        id=key.id,
        name=key.name,
        org_id=key.org_id,
        created_at=key.created_at,
        updated_at=key.updated_at,
        key_id=key.key_id,
        expires_at=key.expires_at,
        creator=UserInfo(org_id=key.creator_org_id, user_id=key.creator_user_id),
        role_id=key.role_id,
    )


class DeletedApiKey(BaseModel):
    deleted_key_id: str


@router.delete(
    "/{api_key_id}/",
    operation_id="delete-api-key",
    summary="Delete an API key",
    dependencies=[Depends(rate_limit(10))],
)
async def delete_api_key(organization: Organization, actor: CurrentActor, api_key_id: str) -> DeletedApiKey:
    """Delete a key. Its tokens are void at once."""
    await organization.database.write(_delete, actor, api_key_id)
    return DeletedApiKey(deleted_key_id=api_key_id)


def _delete(connection: Connection, actor: Actor, key_id: str) -> None:
    key = stored_keys.get_api_key(connection, actor.org_id, key_id)
    actor.require(Permission.ORGANIZATION_DELETE_API_KEY, key.attributes)
    stored_keys.delete_api_key(connection, key)
