"""The values that pass between a turn and a tool, and the protocol of those who run tools."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

ToolKind = Literal["code", "http", "mcp"]
"""The ways to run a tool: code in a sandbox, an operation of an HTTP API, a tool of an MCP server."""


@dataclass(frozen=True, slots=True)
class ToolProgram:
    """One version of a tool, as it is run.

    `definition` is the JSON object that its kind reads: the manifest of code, the operation of an HTTP API, the server
    and the name of an MCP tool. `digest` names the content of code (SHA-256, in hex) and is empty for other kinds.
    """

    organization: str
    name: str
    version: str
    kind: ToolKind
    definition: Mapping[str, Any]
    input_schema: Mapping[str, Any]
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call of a tool. `key` is the same for the same call of a turn that is tried again; `attempt` counts from 1.

    `environment` holds the variables of the tool, the secret ones in clear; nobody logs them.
    """

    arguments: Mapping[str, Any]
    key: str
    environment: Mapping[str, str]
    user_variables: Mapping[str, str]
    secret_user_variables: Mapping[str, str]
    mode: Literal["regular", "conversation-simulation"] = "regular"
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class ToolSucceeded:
    """The answer of a tool; anything that is not a string is told as JSON. The duration is in milliseconds."""

    output: str
    duration_ms: int


@dataclass(frozen=True, slots=True)
class ToolFailed:
    """The failure of a tool, without anything of the server in it. The duration is in milliseconds."""

    exception_type: str
    exception_message: str
    exception_stack_trace: tuple[str, ...]
    duration_ms: int


ToolOutcome = ToolSucceeded | ToolFailed


class ToolRunner(Protocol):
    """A runner of one kind of tools."""

    async def call(self, program: ToolProgram, call: ToolCall) -> ToolOutcome:
        """Call a tool, and return its outcome, failed or not. A cancelled call stops the tool at once."""
        ...

    async def aclose(self) -> None:
        """Stop all that runs."""
        ...
