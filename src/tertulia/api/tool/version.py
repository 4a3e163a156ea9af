"""Versions of tools: publish, list, deprecate."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, cast

from fastapi import Depends, Query, Request
from pydantic import AfterValidator, BaseModel, StringConstraints
from sqlalchemy.engine import Connection

from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization, OrganizationScope
from tertulia.api.http.pagination import PageModel, sorting, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import BoundedJson, ObjectId
from tertulia.api.http.warnings import warn
from tertulia.api.tool import rules
from tertulia.api.tool.rules import VersionInstance, constraint_of
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.errors import BadRequest, BadTool, Unavailable, Unprocessable
from tertulia.runtime import Runtime
from tertulia.storage import tool as tools
from tertulia.storage import tool_version as tool_versions
from tertulia.storage.database.paging import Page, Sort, Window
from tertulia.storage.tool import Tool
from tertulia.storage.tool_version import ToolVersion, ToolVersionFilter, VersionBody
from tertulia.storage.usage import Quotas, refuse_when_organization_full
from tertulia.tools.definitions import HttpOperation, McpTool, variables_of
from tertulia.tools.sources import Project, open_source
from tertulia.tools.values import ToolKind
from tertulia.tools.versions import FIRST, BumpType, Constraint, Version

router = contract_router("/tool", "Tool")

ProjectPath = Annotated[str, StringConstraints(max_length=500, pattern=r"^[-\w\d_/]+$")]
"""A folder below that of the tools."""


class NewToolVersion(BaseModel):
    project_path: ProjectPath
    bump_type: BumpType


InputSchema = Annotated[dict[str, Any], AfterValidator(rules.checked_schema), BoundedJson]


class NewHttpVersion(BaseModel):
    """An operation of an HTTP API, and the JSON schema of its arguments."""

    definition: HttpOperation
    input_schema: InputSchema
    bump_type: BumpType


class NewMcpVersion(BaseModel):
    """A tool of an MCP server. Without `input_schema`, the server is asked for it."""

    definition: McpTool
    input_schema: InputSchema | None = None
    bump_type: BumpType


class PublishedToolVersion(BaseModel):
    new_version: str


class VersionAuthor(BaseModel):
    """The user who made or changed a version. (The names of its fields are other than elsewhere.)"""

    user_id: str
    user_org_id: str


class ToolVersionInstance(BaseModel):
    """A version. `lambda_version` counts the versions of the tool; the hashes are of contents, or of a commit.

    `kind`, an extension, says where the version runs.
    """

    id: str
    org_id: str
    created_at: datetime
    updated_at: datetime
    tool_id: str
    version: VersionInstance
    required_envvars: list[str]
    required_secret_envvars: list[str]
    input_schema: dict[str, Any]
    tool_commit_hash: str
    amigo_scaffold_commit_hash: str
    project_directory: str
    lambda_version: int
    creator: VersionAuthor
    updated_by: VersionAuthor
    deprecated: bool
    kind: ToolKind


class ToolVersionFilterValues(BaseModel):
    creators: list[VersionAuthor]


class ToolVersionPage(PageModel):
    tool_versions: list[ToolVersionInstance]
    filter_values: ToolVersionFilterValues | None


@dataclass(frozen=True, slots=True)
class _Shown:
    """Versions, and on a first page those who made them."""

    page: Page[ToolVersion]
    creators: list[tuple[str, str]] | None


@dataclass(frozen=True, slots=True)
class _Publication:
    """The publication of a version, which has begun; `after` is the commit of the version before, or empty."""

    tool: Tool
    token: str
    bump: BumpType
    after: str


@router.post(
    "/{tool_id}/version",
    operation_id="publish-tool-version",
    status_code=201,
    dependencies=[Depends(rate_limit(10))],
)
async def publish_tool_version(
    request: Request,
    runtime: CurrentRuntime,
    organization: Organization,
    actor: CurrentActor,
    tool_id: ObjectId,
    body: NewToolVersion,
) -> PublishedToolVersion:
    """Publish a project of the server's folder or repository of tools as the next version of a tool."""
    settings = runtime.settings.tools
    source = open_source(settings.source, settings.branch, organization.org_id)
    async with _publication(organization, actor, tool_id, body.bump_type) as begun:
        await _refuse_when_full(runtime, organization)
        project = await source.read(body.project_path, None, begun.after)
        made = await _code(request, runtime, begun, project)
        return await _publish(organization, actor, begun, made)


@router.post(
    "/{tool_id}/version/archive",
    operation_id="publish-tool-archive",
    status_code=201,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/gzip": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
    dependencies=[Depends(rate_limit(10))],
)
async def publish_tool_archive(
    request: Request,
    runtime: CurrentRuntime,
    organization: Organization,
    actor: CurrentActor,
    tool_id: ObjectId,
    bump_type: BumpType,
) -> PublishedToolVersion:
    """Publish the project in an archive, a tar file that is compressed by gzip, as the next version of a tool."""
    sent = await request.body()
    async with _publication(organization, actor, tool_id, bump_type) as begun:
        await _refuse_when_full(runtime, organization)
        project = await asyncio.to_thread(rules.project_of, sent)
        made = await _code(request, runtime, begun, project)
        return await _publish(organization, actor, begun, made)


@router.post(
    "/{tool_id}/version/http",
    operation_id="publish-http-tool",
    status_code=201,
    dependencies=[Depends(rate_limit(10))],
)
async def publish_http_tool(
    organization: Organization, actor: CurrentActor, tool_id: ObjectId, body: NewHttpVersion
) -> PublishedToolVersion:
    """Publish an operation of an HTTP API as the next version of a tool."""
    async with _publication(organization, actor, tool_id, body.bump_type) as begun:
        names = await organization.database.read(rules.split_variables, begun.tool, variables_of(body.definition))
        made = rules.remote_body("http", body.definition, body.input_schema, names)
        return await _publish(organization, actor, begun, made)


@router.post(
    "/{tool_id}/version/mcp",
    operation_id="publish-mcp-tool",
    status_code=201,
    dependencies=[Depends(rate_limit(10))],
)
async def publish_mcp_tool(
    runtime: CurrentRuntime, organization: Organization, actor: CurrentActor, tool_id: ObjectId, body: NewMcpVersion
) -> PublishedToolVersion:
    """Publish a tool of an MCP server as the next version of a tool. The server is asked for a schema not given."""
    async with _publication(organization, actor, tool_id, body.bump_type) as begun:
        names = await organization.database.read(rules.split_variables, begun.tool, variables_of(body.definition))
        schema = body.input_schema
        if schema is None:
            schema = await _offered(runtime, organization, begun.tool, body.definition)
        return await _publish(organization, actor, begun, rules.remote_body("mcp", body.definition, schema, names))


async def _offered(
    runtime: Runtime, organization: OrganizationScope, tool: Tool, definition: McpTool
) -> dict[str, Any]:
    """Ask an MCP server for the schema of a tool of its own. Return the schema, or raise BadTool."""
    variables = await organization.database.read(tools.list_variables, [tool.id])
    environment = runtime.tools.open({variable.name: variable.value for variable in variables})
    try:
        offered = await runtime.tools.offered(organization.org_id, definition, environment)
        return rules.checked_schema(dict(offered.input_schema))
    except ValueError as error:
        raise BadTool(f"The input of {definition.tool} cannot be judged: {error}") from error


@router.get("/{tool_id}/version", operation_id="get-tool-versions", dependencies=[Depends(rate_limit(50))])
async def get_tool_versions(
    organization: Organization,
    actor: CurrentActor,
    tool_id: ObjectId,
    part: Annotated[Window, Depends(window(default=50, most=50, least=0))],
    sort: Annotated[Sort, Depends(sorting(*tool_versions.SORTABLE))],
    deprecated: bool | None = None,
    versions: Annotated[str | None, Query(description="A constraint as in PEP 440: `>=1.0,<2`.")] = None,
    creator: Annotated[list[str], Query(description="`ORGANIZATION,USER`, each.")] = [],
) -> ToolVersionPage:
    """List the versions of a tool, the oldest first unless sorted otherwise."""
    constraint = None if versions is None else constraint_of(versions, ("query", "versions"))
    narrow = ToolVersionFilter(deprecated, creator=[_creator(text, index) for index, text in enumerate(creator)])
    shown = await organization.database.read_snapshot(_list, actor, tool_id, constraint, narrow, sort, part)
    values = None
    if shown.creators is not None:
        authors = [VersionAuthor(user_org_id=org_id, user_id=user_id) for org_id, user_id in shown.creators]
        values = ToolVersionFilterValues(creators=authors)
    return ToolVersionPage.of(
        shown.page, tool_versions=[_instance(version) for version in shown.page.items], filter_values=values
    )


@router.delete(
    "/{tool_id}/version/{versions}",
    operation_id="deprecate-tool-version",
    status_code=204,
    dependencies=[Depends(rate_limit(20))],
)
async def deprecate_tool_versions(
    organization: Organization, actor: CurrentActor, tool_id: ObjectId, versions: str
) -> None:
    """Take the versions that meet a constraint out of use, for good; there may be none."""
    await organization.database.write(_deprecate, actor, tool_id, versions)


# --- Publishing ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def _publication(
    organization: OrganizationScope, actor: Actor, tool_id: str, bump: BumpType
) -> AsyncGenerator[_Publication]:
    """Keep all others from changing a tool while the block runs. Yield the publication that has begun."""
    begun = await organization.storage.write(_begin, actor, tool_id, bump)
    renewing = asyncio.create_task(_renew(organization, begun), name="publication")
    try:
        yield begun
    except BaseException:
        ended = organization.storage.write(tools.end_operation, begun.tool.id, begun.token)
        await asyncio.shield(ended)
        raise
    finally:
        renewing.cancel()


async def _renew(organization: OrganizationScope, begun: _Publication) -> None:
    """Show again and again that a publication lives: if its process dies, the tool is free soon."""
    while True:
        await asyncio.sleep(tools.BUSY.total_seconds() / 3)
        with suppress(Unavailable):  # the next time may find the database again
            await organization.storage.write(tools.renew_operation, begun.tool.id, begun.token)


async def _refuse_when_full(runtime: Runtime, organization: OrganizationScope) -> None:
    """Refuse code of an organization that holds as much as it may."""
    quotas = Quotas(of_organization=runtime.settings.limit.organization_stored_bytes)
    await organization.database.read(refuse_when_organization_full, quotas, organization.org_id)


async def _code(request: Request, runtime: Runtime, begun: _Publication, project: Project) -> VersionBody:
    """Read a project and make it ready. Return the version that it makes."""
    body = await asyncio.to_thread(rules.body_of, project)
    if body.definition["name"] != begun.tool.name:
        warn(request, f"The project calls its tool {body.definition['name']}: it is published as {begun.tool.name}.")
    with runtime.snapshots.holding(body.snapshot) as digest:
        await runtime.tools.prepare(digest)
    return body


async def _publish(
    organization: OrganizationScope, actor: Actor, begun: _Publication, body: VersionBody
) -> PublishedToolVersion:
    await organization.database.read(tool_versions.require_variables, begun.tool, body)
    made = await organization.database.write(_finish, actor, begun, body)
    return PublishedToolVersion(new_version=str(Version(*made.numbers)))


# --- Units -----------------------------------------------------------------------------------------------------------


def _begin(connection: Connection, actor: Actor, tool_id: str, bump: BumpType) -> _Publication:
    tool = tools.lock_idle_tool(connection, actor.org_id, tool_id)
    actor.require(Permission.TOOL_MODIFY_TOOL, tool.attributes)
    tool_versions.require_publishable(connection, tool)
    if not tool.published and bump != "major":
        raise BadRequest(f"The first version of a tool is {FIRST}: its bump_type is major.")
    latest = tool_versions.find_latest(connection, tool.id)
    token = tools.begin_operation(connection, tool)
    return _Publication(tool, token, bump, latest.commit_hash if latest is not None else "")


def _finish(connection: Connection, actor: Actor, begun: _Publication, body: VersionBody) -> ToolVersion:
    tool = tools.lock_operated(connection, actor.org_id, begun.tool.id, begun.token)
    tool_versions.require_publishable(connection, tool)
    tool_versions.require_variables(connection, tool, body)
    published = [Version(*numbers) for numbers in tool_versions.list_numbers(connection, tool.id)]
    following = max(published).bumped(begun.bump) if published else FIRST
    numbers = (following.major, following.minor, following.patch)
    made = tool_versions.insert_version(connection, tool, numbers, body, actor.author)
    tools.end_operation(connection, tool.id, begun.token)
    return made


def _list(
    connection: Connection,
    actor: Actor,
    tool_id: str,
    constraint: Constraint | None,
    narrow: ToolVersionFilter,
    sort: Sort,
    part: Window,
) -> _Shown:
    tool = tools.get_tool(connection, actor.org_id, tool_id)
    if constraint is not None:
        numbers = rules.admitted(connection, tool.id, constraint)
        narrow = ToolVersionFilter(narrow.deprecated, numbers, narrow.creator)
    page = tool_versions.list_versions(connection, tool.id, narrow, sort, part)
    return _Shown(page, tool_versions.list_creators(connection, tool.id, narrow) if part.offset == 0 else None)


def _deprecate(connection: Connection, actor: Actor, tool_id: str, text: str) -> None:
    tool = tools.lock_idle_tool(connection, actor.org_id, tool_id)
    actor.require(Permission.TOOL_MODIFY_TOOL, tool.attributes)
    constraint = constraint_of(text, ("path", "versions"))
    numbers = rules.admitted(connection, tool.id, constraint)
    tool_versions.deprecate_versions(connection, tool, numbers, actor.author)


def _creator(text: str, index: int) -> tuple[str, str]:
    org_id, comma, user_id = text.partition(",")
    if not (org_id and comma and user_id):
        raise Unprocessable("Name a creator as ORGANIZATION,USER.", ("query", "creator", index))
    return org_id, user_id


# --- Rendering -------------------------------------------------------------------------------------------------------


def _instance(found: ToolVersion) -> ToolVersionInstance:
    return ToolVersionInstance(
        id=found.id,
        org_id=found.org_id,
        created_at=found.created_at,
        updated_at=found.updated_at,
        tool_id=found.tool_id,
        version=VersionInstance(major=found.major, minor=found.minor, patch=found.patch),
        required_envvars=list(found.required_envvars),
        required_secret_envvars=list(found.required_secret_envvars),
        input_schema=dict(found.input_schema),
        tool_commit_hash=found.commit_hash,
        amigo_scaffold_commit_hash=found.scaffold_hash,
        project_directory=found.project_directory,
        lambda_version=found.number,
        creator=VersionAuthor(user_org_id=found.creator_org_id, user_id=found.creator_user_id),
        updated_by=VersionAuthor(user_org_id=found.updated_by_org_id, user_id=found.updated_by_user_id),
        deprecated=found.deprecated,
        kind=cast("ToolKind", found.kind),
    )
