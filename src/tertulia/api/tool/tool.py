"""Tools: create, list, change, set variables, deprecate."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import sqlalchemy as sa
from fastapi import Depends, Query
from pydantic import BaseModel, Field, StringConstraints
from sqlalchemy.engine import Connection

from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization
from tertulia.api.http.pagination import PageModel, sorting, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.tag_filter import parse_tag_filters
from tertulia.api.http.types import ObjectId, Tag, Tags, UserInfo
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.auth.secrets import SecretBox
from tertulia.errors import BadRequest, Unprocessable
from tertulia.storage import tool as tools
from tertulia.storage.database.paging import Page, Sort, Window
from tertulia.storage.tool import Tool, ToolFilter, Variable, VariableChanges

router = contract_router("/tool", "Tool")

LONGEST_NAME = 64
"""Characters of a name: vendors of models take no longer names of functions."""

LONGEST_VARIABLE = 100
MOST_VARIABLES = 100
"""Variables of a tool that one request changes."""

ToolName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=10_000, pattern=r"^[a-z0-9_]+$")
]
Description = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=10_000)]
VariableName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=LONGEST_VARIABLE, pattern=r"^[A-Z_][A-Z0-9_]*$"),
]
VariableValue = Annotated[str, StringConstraints(max_length=10_000)]


class NewTool(BaseModel):
    name: ToolName
    description: Description
    tags: Tags


class CreatedTool(BaseModel):
    id: str


class ToolInstance(BaseModel):
    """A tool; of its variables, the names alone."""

    id: str
    org_id: str
    created_at: datetime
    updated_at: datetime
    name: str
    description: str
    deprecated: bool
    envvars: list[str]
    secret_envvars: list[str]
    tags: list[Tag]
    creator: UserInfo
    updated_by: UserInfo


class ToolFilterValues(BaseModel):
    tags: list[str]


class ToolPage(PageModel):
    tools: list[ToolInstance]
    filter_values: ToolFilterValues | None


class ToolChanges(BaseModel):
    """New values of fields; those that are null stay as they are."""

    description: Description | None = None
    tags: Tags | None = None


class ToolVariableInsert(BaseModel):
    name: VariableName
    value: VariableValue
    is_secret: bool


class ToolVariableUpdate(BaseModel):
    name: VariableName
    value: VariableValue


class ToolVariableDelete(BaseModel):
    name: VariableName


class ToolVariableRequest(BaseModel):
    inserts: Annotated[list[ToolVariableInsert], Field(max_length=MOST_VARIABLES)] = []
    updates: Annotated[list[ToolVariableUpdate], Field(max_length=MOST_VARIABLES)] = []
    deletes: Annotated[list[ToolVariableDelete], Field(max_length=MOST_VARIABLES)] = []

    def to_changes(self, tool_id: str, secret_box: SecretBox) -> VariableChanges:
        """Encrypt the values. Return the changes.

        Raises:
            Unprocessable: a variable stands in two of them.
        """
        seen: set[str] = set()
        for field, changes in (("inserts", self.inserts), ("updates", self.updates), ("deletes", self.deletes)):
            for index, change in enumerate(changes):
                if change.name in seen:
                    text = f"The variable {change.name} stands here twice: change it once in a request."
                    raise Unprocessable(text, ("body", field, index, "name"))
                seen.add(change.name)
        return VariableChanges(
            [Variable(tool_id, new.name, secret_box.encrypt(new.value), new.is_secret) for new in self.inserts],
            {update.name: secret_box.encrypt(update.value) for update in self.updates},
            [delete.name for delete in self.deletes],
        )


@dataclass(frozen=True, slots=True)
class _Shown:
    """Tools, their variables, and on a first page the keys of their tags."""

    page: Page[Tool]
    variables: Sequence[Variable]
    tag_keys: list[str] | None


@router.post("/", operation_id="create-tool", status_code=201, dependencies=[Depends(rate_limit(20))])
async def create_tool(organization: Organization, actor: CurrentActor, body: NewTool) -> CreatedTool:
    """Create a tool, as yet without a version: a context graph may name it, but no agent can use it."""
    made = await organization.database.write(_create, actor, body)
    return CreatedTool(id=made.id)


@router.get("/", operation_id="get-tools", dependencies=[Depends(rate_limit(50))])
async def get_tools(
    organization: Organization,
    actor: CurrentActor,
    part: Annotated[Window, Depends(window(default=10, most=20))],
    sort: Annotated[Sort, Depends(sorting(*tools.SORTABLE))],
    id: Annotated[set[ObjectId], Query()] = set(),
    deprecated: bool | None = None,
    tag: Annotated[list[str], Query(description="`key:value`, `key:*` or `key:`; all must match.")] = [],
) -> ToolPage:
    """List the tools, the oldest first unless sorted otherwise. The first page also lists the keys of their tags."""
    narrow = ToolFilter(sorted(id), deprecated, parse_tag_filters(tag, "tag"))
    shown = await organization.database.read_snapshot(_list, actor, narrow, sort, part)
    values = None if shown.tag_keys is None else ToolFilterValues(tags=shown.tag_keys)
    instances = [_instance(tool, shown.variables) for tool in shown.page.items]
    return ToolPage.of(shown.page, tools=instances, filter_values=values)


@router.post("/{tool_id}", operation_id="modify-tool", status_code=204, dependencies=[Depends(rate_limit(20))])
async def modify_tool(organization: Organization, actor: CurrentActor, tool_id: ObjectId, body: ToolChanges) -> None:
    """Change the description or the tags of a tool. The name stays: agents know it by that."""
    await organization.database.write(_modify, actor, tool_id, body)


@router.post(
    "/{tool_id}/envvar", operation_id="modify-tool-envvars", status_code=204, dependencies=[Depends(rate_limit(20))]
)
async def modify_tool_variables(
    runtime: CurrentRuntime,
    organization: Organization,
    actor: CurrentActor,
    tool_id: ObjectId,
    body: ToolVariableRequest,
) -> None:
    """Insert, update and delete environment variables of a tool: all, or none if one cannot be."""
    await organization.database.write(_change_variables, actor, tool_id, body.to_changes(tool_id, runtime.secret_box))


@router.delete("/{tool_id}", operation_id="deprecate-tool", status_code=204, dependencies=[Depends(rate_limit(20))])
async def deprecate_tool(organization: Organization, actor: CurrentActor, tool_id: ObjectId) -> None:
    """Take a tool and all its versions out of use, for good."""
    await organization.database.write(_deprecate, actor, tool_id)


# --- Units -----------------------------------------------------------------------------------------------------------


def _create(connection: Connection, actor: Actor, body: NewTool) -> Tool:
    actor.require(Permission.TOOL_CREATE_TOOL, {"org_id": actor.org_id})
    if len(body.name) > LONGEST_NAME:
        raise BadRequest(f"The name of a tool has at most {LONGEST_NAME} characters.")
    return tools.insert_tool(connection, actor.author, body.name, body.description, body.tags)


def _list(connection: Connection, actor: Actor, narrow: ToolFilter, sort: Sort, part: Window) -> _Shown:
    page = tools.list_tools(connection, actor.org_id, sa.true(), narrow, sort, part)
    variables = tools.list_variables(connection, [tool.id for tool in page.items])
    return _Shown(page, variables, tools.list_tag_keys(connection, actor.org_id, narrow) if part.offset == 0 else None)


def _modify(connection: Connection, actor: Actor, tool_id: str, body: ToolChanges) -> None:
    tool = tools.lock_tool(connection, actor.org_id, tool_id)
    actor.require(Permission.TOOL_MODIFY_TOOL, tool.attributes)
    tools.update_tool(connection, tool, actor.author, body.description, body.tags)


def _change_variables(connection: Connection, actor: Actor, tool_id: str, changes: VariableChanges) -> None:
    tool = tools.lock_idle_tool(connection, actor.org_id, tool_id)
    actor.require(Permission.TOOL_MODIFY_TOOL, tool.attributes)
    if tool.deprecated:
        raise BadRequest(f"The tool {tool.name} is deprecated.")
    tools.change_variables(connection, tool, actor.author, changes)


def _deprecate(connection: Connection, actor: Actor, tool_id: str) -> None:
    tool = tools.lock_idle_tool(connection, actor.org_id, tool_id)
    actor.require(Permission.TOOL_DELETE_TOOL, tool.attributes)
    tools.deprecate_tool(connection, tool, actor.author)


# --- Rendering -------------------------------------------------------------------------------------------------------


def _instance(tool: Tool, variables: Sequence[Variable]) -> ToolInstance:
    own = [variable for variable in variables if variable.tool_id == tool.id]
    return ToolInstance(
        id=tool.id,
        org_id=tool.org_id,
        created_at=tool.created_at,
        updated_at=tool.updated_at,
        name=tool.name,
        description=tool.description,
        deprecated=tool.deprecated,
        envvars=[variable.name for variable in own if not variable.is_secret],
        secret_envvars=[variable.name for variable in own if variable.is_secret],
        tags=[Tag(key=key, value=value) for key, value in tool.tags.items()],
        creator=UserInfo(org_id=tool.creator_org_id, user_id=tool.creator_user_id),
        updated_by=UserInfo(org_id=tool.updated_by_org_id, user_id=tool.updated_by_user_id),
    )
