"""The tools of an organization as turns and callers of the API run them: versions, variables, and records of calls."""

import asyncio
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast, runtime_checkable

from sqlalchemy.engine import Connection

from tertulia import clock, texts
from tertulia.engine.agent.toolbox import CallPlace, Tool
from tertulia.engine.graph.context_graph import ToolCallSpec
from tertulia.errors import BadTool, NotFound, ToolMissing
from tertulia.ids import new_id
from tertulia.storage import tool as tools
from tertulia.storage import tool_invocation as tool_invocations
from tertulia.storage import tool_version as tool_versions
from tertulia.storage import user as users
from tertulia.storage.database.units import Database
from tertulia.storage.tool_invocation import ToolInvocation
from tertulia.storage.tool_version import ToolVersion
from tertulia.storage.turn.values import Claim
from tertulia.tools.definitions import McpPlace, McpTool, OfferedTool
from tertulia.tools.outcomes import CallFailed
from tertulia.tools.values import (
    ToolCall,
    ToolFailed,
    ToolKind,
    ToolOutcome,
    ToolProgram,
    ToolRunner,
    ToolSucceeded,
)
from tertulia.tools.versions import BadConstraint, Constraint, Version

LONGEST_RECORD = 200_000
"""Characters of an output, or of a message of an exception, that a record keeps."""

LONGEST_TRACE = 100
"""Lines of an exception's trace that a record keeps."""


class Decrypt(Protocol):
    """The part of the box of secrets that reads them."""

    def decrypt(self, encrypted: str) -> str:
        """Decrypt a stored text. Return the original."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """A runner of code that makes versions ready before they are called."""

    async def prepare(self, digest: str) -> None:
        """Make a version ready, or raise BadTool."""
        ...


@runtime_checkable
class Offering(Protocol):
    """A runner of tools of servers, which list theirs."""

    async def offer(self, organization: str, place: McpPlace, environment: Mapping[str, str]) -> Sequence[OfferedTool]:
        """List the tools of a server. Return them, or raise CallFailed."""
        ...


class Tools:
    """The tools of a server: the runners of each kind, and the box that opens variables."""

    def __init__(self, runners: Mapping[ToolKind, ToolRunner], secret_box: Decrypt) -> None:
        self._runners = runners
        self._secret_box = secret_box

    @property
    def kinds(self) -> frozenset[ToolKind]:
        """The kinds of tools that this server runs."""
        return frozenset(self._runners)

    def of(self, database: Database, claim: Claim) -> "StoredToolbox":
        """Get the tools that the turn of a claim may call. Return them."""
        return StoredToolbox(self, database, claim)

    def open(self, encrypted: Mapping[str, str]) -> dict[str, str]:
        """Decrypt variables. Return them in clear."""
        return {name: self._secret_box.decrypt(value) for name, value in encrypted.items()}

    async def run(self, program: ToolProgram, call: ToolCall) -> ToolOutcome:
        """Run a version of a tool. Return its outcome, whose texts can be stored."""
        runner = self._runners.get(program.kind)
        if runner is None:
            text = f"This server does not run tools of the kind {program.kind}."
            return ToolFailed("ToolUnavailable", text, (), 0)
        return _storable_outcome(await runner.call(program, call))

    async def prepare(self, digest: str) -> None:
        """Make the code of a version ready, so that its first call does not wait for packages.

        Raises:
            BadTool: it cannot be made ready; says why.
        """
        sandbox = self._runners.get("code")
        if isinstance(sandbox, Preparing):
            await sandbox.prepare(digest)

    async def offers(self, organization: str, place: McpPlace, environment: Mapping[str, str]) -> Sequence[OfferedTool]:
        """Ask an MCP server for its tools. Return them.

        Raises:
            BadTool: the server cannot be reached, or does not list any.
        """
        runner = self._runners.get("mcp")
        if not isinstance(runner, Offering):
            raise BadTool("This server does not reach MCP servers.")
        try:
            return await runner.offer(organization, place, environment)
        except (CallFailed, OSError) as error:  # an address that is refused, or does not answer
            raise BadTool(f"The MCP server does not list its tools: {error}") from error

    async def offered(self, organization: str, wanted: McpTool, environment: Mapping[str, str]) -> OfferedTool:
        """Ask an MCP server for a tool of its own. Return it.

        Raises:
            BadTool: the server cannot be reached, or has no such tool.
        """
        for offer in await self.offers(organization, wanted, environment):
            if offer.definition["tool"] == wanted.tool:
                return offer
        raise BadTool(f"The MCP server has no tool {wanted.tool}.")

    async def aclose(self) -> None:
        """Stop all that runs."""
        for runner in self._runners.values():
            await runner.aclose()


class Snapshots:
    """The code of tools, as runners load it: of versions in any storage cluster, and of projects that are tried."""

    def __init__(self, databases: Sequence[Database]) -> None:
        self._databases = databases
        self._held: dict[str, tuple[bytes, int]] = {}

    async def load(self, digest: str) -> bytes:
        """Find an archive by its SHA-256, in hex. Return it, or raise NotFound."""
        if digest in self._held:
            return self._held[digest][0]
        for database in self._databases:
            body = await database.read(tool_versions.find_snapshot, digest)
            if body is not None:
                return body
        raise NotFound(f"There is no snapshot {digest}.")

    @contextmanager
    def holding(self, body: bytes) -> Generator[str]:
        """Hold an archive that is not stored while the block runs. Yield its digest."""
        digest = tool_versions.digest_of(body)
        self._held[digest] = (body, self._held.get(digest, (body, 0))[1] + 1)
        try:
            yield digest
        finally:
            body, count = self._held.pop(digest)
            if count > 1:
                self._held[digest] = (body, count - 1)


class StoredToolbox:
    """The tools of an organization, as one turn of one user may call them."""

    def __init__(self, runs: Tools, database: Database, claim: Claim) -> None:
        self._tools = runs
        self._database = database
        self._claim = claim

    async def find(self, spec: ToolCallSpec) -> Tool:
        """Return the greatest active version that fits the constraint.

        Raises:
            ToolMissing: there is no such tool, or no such version.
        """
        tool, version = await self._database.read(find_fitting, self._claim.org_id, spec)
        return Tool(
            tool_id=tool.id,
            name=tool.name,
            description=tool.description,
            version=str(Version(*version.numbers)),
            input_schema=version.input_schema,
            needs_confirmation=version.definition.get("confirm") is True,
        )

    async def call(self, tool: Tool, arguments: Mapping[str, Any], place: CallPlace, key: str) -> ToolOutcome:
        """Call a tool with the variables of this moment, and return its outcome.

        The call is on record before it is made, as one that was interrupted, so that there is no effect without a
        record if the process dies. The record does not depend on the turn: a void turn keeps it. A cancelled call stops
        the tool at once, and its record says so.
        """
        record = _record(self._claim, tool, cast("dict[str, Any]", storable_json(dict(arguments))), place, key)
        began = time.monotonic()
        beginning = asyncio.ensure_future(self._database.write(_begin_call, tool, record))
        try:
            found = await asyncio.shield(beginning)
            outcome = await self._tools.run(program_of(found.version, tool.name), self._made_of(found, record))
        except asyncio.CancelledError:
            await asyncio.shield(self._end_after(beginning, _ended(record, _STOPPED, _since(began))))
            raise
        except Exception:
            await self._end_after(beginning, _ended(record, _BROKEN, _since(began)))
            raise
        await self._database.write(tool_invocations.end_invocation, _ended(record, outcome, outcome.duration_ms))
        return outcome

    def _made_of(self, found: "_Found", record: ToolInvocation) -> ToolCall:
        return ToolCall(
            arguments=record.inputs,
            key=record.call_key,
            environment=self._tools.open(found.environment),
            user_variables={**found.user_variables, "user_id": record.user_id},
            secret_user_variables=self._tools.open(found.secret_user_variables),
            attempt=found.attempt,
        )

    async def _end_after(self, beginning: "asyncio.Future[_Found]", record: ToolInvocation) -> None:
        """Note the end of a call once its beginning is on record; if it never is, there is nothing to note."""
        await asyncio.wait([beginning])
        if beginning.exception() is None:
            await self._database.write(tool_invocations.end_invocation, record)


def program_of(version: ToolVersion, name: str) -> ToolProgram:
    """Make the program that a stored version is. Return it."""
    return ToolProgram(
        organization=version.org_id,
        name=name,
        version=str(Version(*version.numbers)),
        kind=cast("ToolKind", version.kind),
        definition=version.definition,
        input_schema=version.input_schema,
        digest=version.digest,
    )


# --- Units -----------------------------------------------------------------------------------------------------------


def find_fitting(connection: Connection, org_id: str, spec: ToolCallSpec) -> tuple[tools.Tool, ToolVersion]:
    """Choose the greatest version in use that fits the constraint of a spec. Return the tool and the version.

    Raises:
        ToolMissing: there is no such tool, or no such version.
    """
    try:
        tool = tools.get_tool(connection, org_id, spec.tool_id)
        constraint = Constraint(spec.version_constraint)
    except (NotFound, BadConstraint) as error:
        raise ToolMissing(str(error)) from error
    active = {Version(*version.numbers): version for version in tool_versions.list_active(connection, tool.id)}
    best = constraint.greatest(active)
    if best is None:
        wanted = f" that fits {spec.version_constraint}" if spec.version_constraint else ""
        raise ToolMissing(f"The tool {tool.name} has no version in use{wanted}.")
    return tool, active[best]


@dataclass(frozen=True, slots=True)
class _Found:
    """The things that a call needs; the secret ones are encrypted."""

    version: ToolVersion
    environment: Mapping[str, str]
    user_variables: Mapping[str, str]
    secret_user_variables: Mapping[str, str]
    attempt: int


def _begin_call(connection: Connection, chosen: Tool, record: ToolInvocation) -> _Found:
    """Put a call that is about to be made on record, and read what it needs. Return that. Raises ToolMissing."""
    try:
        tool = tools.get_tool(connection, record.org_id, chosen.tool_id)
        version = tool_versions.get_version(connection, tool, (record.major, record.minor, record.patch))
        user = users.get_user(connection, record.org_id, record.user_id)
    except NotFound as error:
        raise ToolMissing(error.detail) from error
    return _Found(
        version=version,
        environment=read_environment(connection, version),
        user_variables=user.nonsensitive_variables,
        secret_user_variables=user.sensitive_variables,
        attempt=tool_invocations.begin_invocation(connection, record) + 1,
    )


def read_environment(connection: Connection, version: ToolVersion) -> dict[str, str]:
    """Read the variables that a version requires. Return them, encrypted, by name."""
    required = {*version.required_envvars, *version.required_secret_envvars}
    variables = tools.list_variables(connection, [version.tool_id])
    return {variable.name: variable.value for variable in variables if variable.name in required}


# --- Records ---------------------------------------------------------------------------------------------------------


_INTERRUPTED = ToolFailed(
    "ToolInterrupted", "The server has died in the middle of this call; it may have had its effect.", (), 0
)
_STOPPED = ToolFailed("ToolStopped", "The turn has stopped this call; it may have had its effect.", (), 0)
_BROKEN = ToolFailed("InternalError", "The server could not make this call.", (), 0)


def _record(claim: Claim, tool: Tool, arguments: Mapping[str, Any], place: CallPlace, key: str) -> ToolInvocation:
    """Describe a call that is about to be made. Return its record, as it is if the server dies before the end."""
    major, minor, patch = map(int, tool.version.split("."))
    return ToolInvocation(
        id=new_id(),
        org_id=claim.org_id,
        tool_id=tool.tool_id,
        major=major,
        minor=minor,
        patch=patch,
        succeeded=False,
        output="",
        exception_type=_INTERRUPTED.exception_type,
        exception_message=_INTERRUPTED.exception_message,
        exception_stack_trace=[],
        duration_ms=0,
        inputs=arguments,
        user_id=claim.user_id,
        service_id=claim.service_id,
        conversation_id=claim.conversation_id,
        interaction_id=claim.interaction_id,
        place=_place(place),
        created_at=clock.now(),
        call_key=key,
        is_over=False,
    )


def _ended(record: ToolInvocation, outcome: ToolOutcome, duration_ms: int) -> ToolInvocation:
    """Note the outcome of a call, and how long it took. Return the record as it stays."""
    succeeded = isinstance(outcome, ToolSucceeded)
    return replace(
        record,
        succeeded=succeeded,
        output=_cut(outcome.output) if succeeded else "",
        exception_type="" if succeeded else outcome.exception_type,
        exception_message="" if succeeded else _cut(outcome.exception_message),
        exception_stack_trace=[] if succeeded else list(outcome.exception_stack_trace[:LONGEST_TRACE]),
        duration_ms=duration_ms,
        is_over=True,
    )


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def _place(place: CallPlace) -> dict[str, Any]:
    """Write the place of a call as the wire has it. Return it."""
    told: dict[str, Any] = {"type": place.type, "current_state_machine_and_version": list(place.graph)}
    if place.type != "engage-user":
        told["state_name"] = place.state
    if place.type == "state-transition":
        told["state_transition_index"] = place.transition_index
    if place.type != "tool-call-state":
        told["tool_call_round_index"] = place.round_index
    return told


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_RECORD else f"{text[: LONGEST_RECORD - 3]}..."


def storable_json(value: Any) -> Any:
    """Make all texts of a JSON value storable, names too. Return the value."""
    match value:
        case str():
            return texts.storable(value)
        case dict():
            items = cast("dict[str, Any]", value).items()
            return {storable_json(name): storable_json(item) for name, item in items}
        case list():
            return [storable_json(item) for item in cast("list[Any]", value)]
        case _:
            return value


def _storable_outcome(outcome: ToolOutcome) -> ToolOutcome:
    if isinstance(outcome, ToolSucceeded):
        return ToolSucceeded(storable_json(outcome.output), outcome.duration_ms)
    return ToolFailed(
        texts.storable(outcome.exception_type),
        texts.storable(outcome.exception_message),
        tuple(map(texts.storable, outcome.exception_stack_trace)),
        outcome.duration_ms,
    )
