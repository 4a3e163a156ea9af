"""Calls of tools by their makers: a test of a project that is not published, and of a version that is."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import Depends, Request, Response
from pydantic import BaseModel, Field, StringConstraints
from sqlalchemy.engine import Connection

from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization
from tertulia.api.http.presence import while_present
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import ObjectId
from tertulia.api.tool.rules import body_of, require_maker
from tertulia.api.tool.tool import VariableValue
from tertulia.api.tool.version import ProjectPath
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.engine.toolbox import Tools, program_of, read_environment, storable_json
from tertulia.errors import BadRequest, NotFound
from tertulia.ids import new_id
from tertulia.storage import tool as tools
from tertulia.storage import tool_version as tool_versions
from tertulia.storage.tool_version import VersionBody
from tertulia.tools import scaffold
from tertulia.tools.arguments import problem_of_arguments
from tertulia.tools.sources import open_source
from tertulia.tools.values import ToolCall, ToolOutcome, ToolProgram, ToolSucceeded
from tertulia.tools.versions import find_version

router = contract_router("/tool", "Tool")

UserVariableName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256, pattern=r"^[a-z_][a-z0-9_]+$")
]
UserVariables = Annotated[dict[UserVariableName, VariableValue], Field(max_length=20)]
EnvironmentName = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class ToolInput(BaseModel):
    """A call to be made."""

    input_parameters: dict[str, Any]
    invocation_mode: Literal["regular", "conversation-simulation"]
    nonsensitive_user_variables: UserVariables
    sensitive_user_variables: UserVariables


Inputs = Annotated[list[ToolInput], Field(min_length=1, max_length=10)]


class ToolTest(BaseModel):
    inputs: Inputs
    commit_branch: Annotated[str, StringConstraints(max_length=500)]
    project_path: ProjectPath
    required_envvars: dict[EnvironmentName, VariableValue]
    required_secret_envvars: dict[EnvironmentName, VariableValue]

    @property
    def environment(self) -> dict[str, str]:
        """All variables by name.

        Raises:
            BadRequest: one is both secret and not.
        """
        for name in self.required_envvars:
            if name in self.required_secret_envvars:
                raise BadRequest(f"The variable {name} is among required_envvars and required_secret_envvars.")
        return {**self.required_envvars, **self.required_secret_envvars}


class ToolInvocationRequest(BaseModel):
    inputs: Inputs


class SucceededInvocation(BaseModel):
    succeeded: Literal[True] = True
    output: str
    duration_ms: int


class FailedInvocation(BaseModel):
    succeeded: Literal[False] = False
    exception_message: str
    exception_type: str
    exception_stack_trace: list[str]
    duration_ms: int


InvocationResult = Annotated[SucceededInvocation | FailedInvocation, Field(discriminator="succeeded")]


class InvocationResults(BaseModel):
    invocation_results: list[InvocationResult]


@router.get(
    "/amigo_tool_scaffold.tar.gz",
    operation_id="get-tool-scaffold-release",
    response_class=Response,
    responses={200: {"content": {"application/gzip": {"schema": {"type": "string"}}}}},
    dependencies=[Depends(rate_limit(50))],
)
async def get_tool_scaffold(_organization: Organization, _actor: CurrentActor) -> Response:
    """Get a project to begin a tool with: a tar file that is compressed by gzip."""
    return Response(scaffold.archive(), media_type="application/gzip")


@router.post("/test", operation_id="test-tool", dependencies=[Depends(rate_limit(1))])
async def test_tool(
    request: Request, runtime: CurrentRuntime, organization: Organization, actor: CurrentActor, body: ToolTest
) -> InvocationResults:
    """Call a project of the server's folder or repository of tools, which need not be published.

    A client that leaves stops the calls.
    """
    require_maker(actor, organization.attributes)
    environment = body.environment
    settings = runtime.settings.tools
    source = open_source(settings.source, settings.branch, organization.org_id)
    project = await source.read(body.project_path, body.commit_branch or None, "")
    made = await asyncio.to_thread(body_of, project)
    _refuse_missing(made, body)
    await organization.database.write(_begin_test)
    with runtime.snapshots.holding(made.snapshot) as digest:
        program = _unpublished(organization.org_id, made, digest)
        return await while_present(request, _call(runtime.tools, program, body.inputs, environment))


@router.post(
    "/{tool_id}/version/{version}/invoke", operation_id="invoke-tool-version", dependencies=[Depends(rate_limit(10))]
)
async def invoke_tool_version(
    request: Request,
    runtime: CurrentRuntime,
    organization: Organization,
    actor: CurrentActor,
    tool_id: ObjectId,
    version: str,
    body: ToolInvocationRequest,
) -> InvocationResults:
    """Call a version of a tool, with the variables that the tool has. A tool that fails is told in the answer.

    A client that leaves stops the calls.
    """
    program, environment = await organization.database.write(_get_program, actor, tool_id, version)
    calls = _call(runtime.tools, program, body.inputs, runtime.tools.open(environment))
    return await while_present(request, calls)


async def _call(
    runs: Tools, program: ToolProgram, inputs: Sequence[ToolInput], environment: Mapping[str, str]
) -> InvocationResults:
    """Call a program with each input, all at once. Return their outcomes in order."""
    # Judging each input by the schema may take a tenth of a second: too long for the event loop.
    calls = await asyncio.to_thread(
        lambda: [_checked(program, index, given, environment) for index, given in enumerate(inputs)]
    )
    async with asyncio.TaskGroup() as group:
        running = [group.create_task(runs.run(program, call)) for call in calls]
    return InvocationResults(invocation_results=[_result(task.result()) for task in running])


def _checked(program: ToolProgram, index: int, given: ToolInput, environment: Mapping[str, str]) -> ToolCall:
    """Make the call of an input. Return it, or raise BadRequest if the input does not fit the schema."""
    problem = problem_of_arguments(given.input_parameters, program.input_schema)
    if problem is not None:
        raise BadRequest(f"inputs.{index}.input_parameters: {problem}")
    return ToolCall(
        arguments=storable_json(given.input_parameters),
        key=new_id(),
        environment=environment,
        user_variables=given.nonsensitive_user_variables,
        secret_user_variables=given.sensitive_user_variables,
        mode=given.invocation_mode,
    )


def _result(outcome: ToolOutcome) -> SucceededInvocation | FailedInvocation:
    if isinstance(outcome, ToolSucceeded):
        return SucceededInvocation(output=outcome.output, duration_ms=outcome.duration_ms)
    return FailedInvocation(
        exception_message=outcome.exception_message,
        exception_type=outcome.exception_type,
        exception_stack_trace=list(outcome.exception_stack_trace),
        duration_ms=outcome.duration_ms,
    )


def _refuse_missing(made: VersionBody, body: ToolTest) -> None:
    for field, required in (
        ("required_envvars", made.required_envvars),
        ("required_secret_envvars", made.required_secret_envvars),
    ):
        for name in required:
            if name not in getattr(body, field):
                raise BadRequest(f"The tool requires the variable {name}: give it a value in {field}.")


def _unpublished(org_id: str, made: VersionBody, digest: str) -> ToolProgram:
    return ToolProgram(org_id, made.definition["name"], "0.0.0", "code", made.definition, made.input_schema, digest)


# --- Units -----------------------------------------------------------------------------------------------------------


def _begin_test(_connection: Connection) -> None:
    """Do nothing but be a change, which the audit log tells of: a call may do anything."""


def _get_program(
    connection: Connection, actor: Actor, tool_id: str, text: str
) -> tuple[ToolProgram, Mapping[str, str]]:
    """Find a version in use. Return its program, and the variables that it requires, encrypted."""
    tool = tools.get_tool(connection, actor.org_id, tool_id)
    actor.require(Permission.TOOL_INVOKE_TOOL, tool.attributes)
    version = find_version(text)
    if version is None:
        raise NotFound(f"The tool {tool.name} has no version of this name: versions are as 1.2.3.")
    found = tool_versions.get_version(connection, tool, (version.major, version.minor, version.patch))
    return program_of(found, tool.name), read_environment(connection, found)
