"""Agents: who speaks. An agent is a name and its numbered versions."""

from datetime import datetime
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Query
from pydantic import BaseModel, StringConstraints
from sqlalchemy.engine import RowMapping

from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization
from tertulia.api.http.pagination import sorting, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import Language, ObjectId, Text, Text256, UserInfo, VersionNumber
from tertulia.api.http.versions import version_range
from tertulia.auth.permissions import Permission
from tertulia.errors import BadRequest
from tertulia.storage import agent as store
from tertulia.storage import versioned
from tertulia.storage.agent import AGENT
from tertulia.storage.database.paging import Sort, Window
from tertulia.storage.versioned import Author, VersionRange

router = contract_router("/organization/agent", "Organization")


class NewAgent(BaseModel):
    agent_name: Text256


class CreatedAgent(BaseModel):
    id: str


class AgentInstance(BaseModel):
    id: str
    name: str
    deprecated: bool
    latest_version: int | None


class AgentPage(BaseModel):
    agents: list[AgentInstance]
    has_more: bool
    continuation_token: int | None


class RelationshipToDeveloper(BaseModel):
    """What an agent believes of the organization that made it."""

    ownership: Text
    type: Text
    conversation_visibility: Text
    thought_visibility: Text


class Identity(BaseModel):
    name: Text
    role: Text
    developed_by: Text
    default_spoken_language: Language
    relationship_to_developer: RelationshipToDeveloper


class VoiceConfig(BaseModel):
    voice_id: Text


class AgentVersionChanges(BaseModel):
    """The fields of a version; those that are null keep the value of the version before."""

    initials: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=3)] | None = None
    identity: Identity | None = None
    background: Text | None = None
    behaviors: list[Text] | None = None
    communication_patterns: list[Text] | None = None
    voice_config: VoiceConfig | None = None


REQUIRED = ("initials", "identity", "background", "behaviors", "communication_patterns")
"""What a first version must have; an agent without a voice can still write."""


class CreatedVersion(BaseModel):
    version: int
    created_at: datetime


class AgentVersion(BaseModel):
    org_id: str
    agent_id: str
    version: int
    voice_config: VoiceConfig | None
    initials: str
    identity: Identity
    background: str
    behaviors: list[str]
    communication_patterns: list[str]
    created_at: datetime
    creator: UserInfo


class AgentVersionPage(BaseModel):
    agent_versions: list[AgentVersion]
    has_more: bool
    continuation_token: int | None


@router.post("", operation_id="create-agent", status_code=201, dependencies=[Depends(rate_limit(10))])
async def create_agent(organization: Organization, actor: CurrentActor, body: NewAgent) -> CreatedAgent:
    """Create an agent, as yet without a version."""
    actor.require(Permission.ORGANIZATION_CREATE_AGENT, {"org_id": organization.org_id})
    return CreatedAgent(
        id=await organization.database.write(versioned.create, AGENT, organization.org_id, body.agent_name)
    )


@router.get("", operation_id="get-agents", dependencies=[Depends(rate_limit(20))])
async def get_agents(
    organization: Organization,
    actor: CurrentActor,
    part: Annotated[Window, Depends(window(default=10, most=20))],
    deprecated: bool | None = None,
    id: Annotated[set[ObjectId], Query()] = set(),
) -> AgentPage:
    """The agents that the caller may see, the oldest first."""
    visible = actor.visible(Permission.ORGANIZATION_GET_AGENT, store.COLUMNS)
    page = await organization.database.read(store.list_agents, organization.org_id, visible, deprecated, list(id), part)
    return AgentPage(
        agents=[AgentInstance.model_validate(dict(row)) for row in page.items],
        has_more=page.has_more,
        continuation_token=page.continuation_token,
    )


@router.post(
    "/{agent_id}/", operation_id="create-agent-version", status_code=201, dependencies=[Depends(rate_limit(10))]
)
async def create_agent_version(
    runtime: CurrentRuntime,
    organization: Organization,
    actor: CurrentActor,
    agent_id: ObjectId,
    body: AgentVersionChanges,
    version: Annotated[VersionNumber | None, Query(description="The number that it must get.")] = None,
) -> CreatedVersion:
    """Create the next version of an agent; fields that are left out keep their value."""
    target = {"org_id": organization.org_id, "agent_id": agent_id}
    voice_id = body.voice_config.voice_id if body.voice_config else None
    may_create = actor.may(Permission.ORGANIZATION_CREATE_AGENT_VERSION, target)  # a vendor is asked for nobody else
    known = voice_id is None or (may_create and await runtime.conversations.voices.knows(voice_id))

    def authorize() -> None:
        actor.require(Permission.ORGANIZATION_CREATE_AGENT_VERSION, target)
        if not known:
            raise BadRequest(f"voice_config: this server does not know the voice {voice_id}.")

    row = await organization.database.write(
        store.create_agent_version,
        organization.org_id,
        agent_id,
        authorize,
        body.model_dump(mode="json", exclude_none=True),
        REQUIRED,
        Author(actor.org_id, actor.user_id),
        version,
    )
    return CreatedVersion(version=row["version"], created_at=row["created_at"])


@router.delete("/{agent_id}/", operation_id="delete-agent", dependencies=[Depends(rate_limit(10))])
async def delete_agent(organization: Organization, actor: CurrentActor, agent_id: ObjectId) -> None:
    """Mark an agent as deprecated: no new service can use it."""
    target = {"org_id": organization.org_id, "agent_id": agent_id}
    authorize = partial(actor.require, Permission.ORGANIZATION_DELETE_AGENT, target)
    await organization.database.write(versioned.deprecate, AGENT, organization.org_id, agent_id, authorize)


@router.get("/{agent_id}/version", operation_id="get-agent-versions", dependencies=[Depends(rate_limit(20))])
async def get_agent_versions(
    organization: Organization,
    actor: CurrentActor,
    agent_id: ObjectId,
    wanted: Annotated[VersionRange | None, Depends(version_range)],
    part: Annotated[Window, Depends(window(default=10, most=10))],
    sort: Annotated[Sort, Depends(sorting("version"))],
) -> AgentVersionPage:
    """The versions of an agent, the first one first unless sorted otherwise."""
    target = {"org_id": organization.org_id, "agent_id": agent_id}
    authorize = partial(actor.require, Permission.ORGANIZATION_GET_AGENT, target)
    page = await organization.database.read(
        versioned.list_versions, AGENT, organization.org_id, agent_id, authorize, wanted, sort, part
    )
    return AgentVersionPage(
        agent_versions=[AgentVersion.model_validate(_version(row)) for row in page.items],
        has_more=page.has_more,
        continuation_token=page.continuation_token,
    )


def _version(row: RowMapping) -> dict[str, Any]:
    creator = {"org_id": row["creator_org_id"], "user_id": row["creator_user_id"]}
    return {"voice_config": None, **row["body"], **row, "creator": creator}
