"""Offers: operations of an OpenAPI document and tools of an MCP server, as they can be published."""

import asyncio
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from fastapi import Depends
from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.tool.rules import require_maker
from tertulia.api.tool.tool import VariableValue
from tertulia.errors import Unprocessable
from tertulia.tools.definitions import McpPlace, OfferedTool, Variable, checked_url
from tertulia.tools.openapi import MOST_OPERATIONS, tools_of
from tertulia.tools.schemas import DocumentWrong

router = contract_router("/tool", "Tool")


def _base_url(text: str) -> str:
    checked_url(text)
    return text


class OpenApiDocument(BaseModel):
    """A document, and which of its operations are wanted: all that are not deprecated, unless named."""

    document: dict[str, Any]
    operation_ids: (
        Annotated[list[Annotated[str, StringConstraints(max_length=500)]], Field(max_length=MOST_OPERATIONS)] | None
    ) = None
    base_url: Annotated[str, StringConstraints(max_length=2000), AfterValidator(_base_url)] | None = None


class McpServerToList(BaseModel):
    """A server, and the values of the environment variables that are named for it; they are not stored."""

    server: McpPlace
    variables: Annotated[dict[Variable, VariableValue], Field(max_length=20)] = {}


class Offer(BaseModel):
    """The body of `publish-http-tool` or `publish-mcp-tool`, with a name and a description for the tool."""

    name: str
    description: str
    kind: Literal["http", "mcp"]
    definition: dict[str, Any]
    input_schema: dict[str, Any]


class Offers(BaseModel):
    tools: list[Offer]


@router.post("/offer/openapi", operation_id="list-openapi-tools", dependencies=[Depends(rate_limit(10))])
async def list_openapi_tools(organization: Organization, actor: CurrentActor, body: OpenApiDocument) -> Offers:
    """Read an OpenAPI document of version 3.0 or 3.1. Returns a definition for each operation."""
    require_maker(actor, organization.attributes)
    try:
        offered = await asyncio.to_thread(tools_of, body.document, body.operation_ids, body.base_url)
    except DocumentWrong as error:
        raise Unprocessable(error.text, ("body", "document", *error.place)) from error
    return _offers(offered)


@router.post("/offer/mcp", operation_id="list-mcp-tools", dependencies=[Depends(rate_limit(10))])
async def list_mcp_tools(
    runtime: CurrentRuntime, organization: Organization, actor: CurrentActor, body: McpServerToList
) -> Offers:
    """Ask an MCP server for its tools. Returns a definition for each."""
    require_maker(actor, organization.attributes)
    return _offers(await runtime.tools.offers(organization.org_id, body.server, body.variables))


def _offers(offered: Iterable[OfferedTool]) -> Offers:
    return Offers(tools=[_offer(tool) for tool in offered])


def _offer(tool: OfferedTool) -> Offer:
    return Offer(
        name=tool.name,
        description=tool.description,
        kind=tool.kind,
        definition=dict(tool.definition),
        input_schema=dict(tool.input_schema),
    )
