"""Agents: the speakers. An agent is a name and its numbered versions."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from pydantic import BaseModel, StringConstraints
from sqlalchemy.engine import Connection

from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization
from tertulia.api.http.pagination import PageModel, sorting, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import Language, ObjectId, Text, Text256, Texts, UserInfo, VersionNumber
from tertulia.api.http.versions import CreatedVersion, version_range
from tertulia.api.http.warnings import REPEATS, warn
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.engine.speech.voices import warning_of
from tertulia.errors import BadRequest
from tertulia.storage import agent as agents
from tertulia.storage import versioned
from tertulia.storage.agent import AGENT
from tertulia.storage.database.paging import Page, Sort, Window
from tertulia.storage.versioned import Version, VersionedFilter, VersionRange

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


class AgentPage(PageModel):
    agents: list[AgentInstance]


class RelationshipToDeveloper(BaseModel):
    """The agent's view of the organization that made it."""

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
    behaviors: Texts | None = None
    communication_patterns: Texts | None = None
    voice_config: VoiceConfig | None = None


REQUIRED = ("initials", "identity", "background", "behaviors", "communication_patterns")
"""The fields of a first version; an agent without a voice can still write."""


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


class AgentVersionPage(PageModel):
    agent_versions: list[AgentVersion]


@router.post("", operation_id="create-agent", status_code=201, dependencies=[Depends(rate_limit(10))])
async def create_agent(organization: Organization, actor: CurrentActor, body: NewAgent) -> CreatedAgent:
    """Create an agent, as yet without a version."""
    actor.require(Permission.ORGANIZATION_CREATE_AGENT, organization.attributes)
    agent_id = await organization.database.write(versioned.create, AGENT, organization.org_id, body.agent_name)
    return CreatedAgent(id=agent_id)


@router.get("", operation_id="get-agents", dependencies=[Depends(rate_limit(20))])
async def get_agents(
    organization: Organization,
    actor: CurrentActor,
    part: Annotated[Window, Depends(window(default=10, most=20))],
    deprecated: bool | None = None,
    id: Annotated[set[ObjectId], Query()] = set(),
) -> AgentPage:
    """List the agents that the caller may see, the oldest first."""
    visible = actor.visible(Permission.ORGANIZATION_GET_AGENT, agents.COLUMNS)
    narrow = VersionedFilter(list(id), deprecated)
    page = await organization.database.read(versioned.list_, AGENT, organization.org_id, visible, narrow, part)
    return AgentPage.of(page, agents=[_agent(agent) for agent in page.items])


@router.post(
    "/{agent_id}/", operation_id="create-agent-version", status_code=201, dependencies=[Depends(rate_limit(10))]
)
async def create_agent_version(
    request: Request,
    runtime: CurrentRuntime,
    organization: Organization,
    actor: CurrentActor,
    agent_id: ObjectId,
    body: AgentVersionChanges,
    version: Annotated[VersionNumber | None, Query(description="The number that it must get.")] = None,
) -> CreatedVersion:
    """Create the next version of an agent; fields that are left out keep their value."""
    if body.voice_config is not None:
        await organization.database.read(_require_create_version, actor, agent_id)  # a vendor is asked for nobody else
        if text := await warning_of(runtime.conversations.voices, body.voice_config.voice_id):
            warn(request, text)
    changes = body.model_dump(mode="json", exclude_none=True)
    made, repeats = await organization.database.write(_create_version, actor, agent_id, changes, version)
    if not changes:
        warn(request, "This version is the same as the one before: no field was given.")
    elif repeats:
        warn(request, REPEATS)
    return CreatedVersion(version=made.number, created_at=made.created_at)


@router.delete("/{agent_id}/", operation_id="delete-agent", dependencies=[Depends(rate_limit(10))])
async def delete_agent(organization: Organization, actor: CurrentActor, agent_id: ObjectId) -> None:
    """Mark an agent as deprecated: no new service can use it."""
    await organization.database.write(_delete, actor, agent_id)


@router.get("/{agent_id}/version", operation_id="get-agent-versions", dependencies=[Depends(rate_limit(20))])
async def get_agent_versions(
    organization: Organization,
    actor: CurrentActor,
    agent_id: ObjectId,
    wanted: Annotated[VersionRange | None, Depends(version_range)],
    part: Annotated[Window, Depends(window(default=10, most=10))],
    sort: Annotated[Sort, Depends(sorting("version"))],
) -> AgentVersionPage:
    """List the versions of an agent, the first one first unless sorted otherwise."""
    page = await organization.database.read(_list_versions, actor, agent_id, wanted, sort, part)
    return AgentVersionPage.of(page, agent_versions=[_version(version) for version in page.items])


# --- Units -----------------------------------------------------------------------------------------------------------


def _require_create_version(connection: Connection, actor: Actor, agent_id: str) -> None:
    agent = versioned.get(connection, AGENT, actor.org_id, agent_id)
    actor.require(Permission.ORGANIZATION_CREATE_AGENT_VERSION, agent.attributes)


def _create_version(
    connection: Connection, actor: Actor, agent_id: str, changes: Mapping[str, Any], expected: int | None
) -> tuple[Version, bool]:
    """Create the next version. Return it, and True if it is the same as the one before."""
    agent = versioned.lock(connection, AGENT, actor.org_id, agent_id)
    actor.require(Permission.ORGANIZATION_CREATE_AGENT_VERSION, agent.attributes)
    latest = versioned.find_version(connection, AGENT, agent.org_id, agent.id, agent.latest_version)
    body = changes if latest is None else {**latest.body, **changes}
    missing = [field for field in REQUIRED if field not in body]
    if missing:
        raise BadRequest(f"The first version of an agent needs every field; missing: {', '.join(missing)}.")
    made = versioned.create_version(connection, AGENT, agent, body, actor.author, expected)
    return made, latest is not None and latest.body == body


def _delete(connection: Connection, actor: Actor, agent_id: str) -> None:
    agent = versioned.lock(connection, AGENT, actor.org_id, agent_id)
    actor.require(Permission.ORGANIZATION_DELETE_AGENT, agent.attributes)
    versioned.deprecate(connection, AGENT, agent)


def _list_versions(
    connection: Connection, actor: Actor, agent_id: str, wanted: VersionRange | None, sort: Sort, part: Window
) -> Page[Version]:
    agent = versioned.get(connection, AGENT, actor.org_id, agent_id)
    actor.require(Permission.ORGANIZATION_GET_AGENT, agent.attributes)
    return versioned.list_versions(connection, AGENT, agent, wanted, sort, part)


# --- Rendering -------------------------------------------------------------------------------------------------------


def _agent(agent: agents.Agent) -> AgentInstance:
    return AgentInstance(id=agent.id, name=agent.name, deprecated=agent.deprecated, latest_version=agent.latest_version)


def _version(version: Version) -> AgentVersion:
    return AgentVersion.model_validate(
        {
            "voice_config": None,
            **version.body,
            "org_id": version.org_id,
            "agent_id": version.thing_id,
            "version": version.number,
            "created_at": version.created_at,
            "creator": UserInfo(org_id=version.creator_org_id, user_id=version.creator_user_id),
        }
    )
