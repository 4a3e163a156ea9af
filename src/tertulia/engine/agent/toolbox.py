"""The tools that a turn may call: the protocol, and the values that pass."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from tertulia.engine.graph.context_graph import ToolCallSpec
from tertulia.errors import ToolMissing
from tertulia.events import VersionInfo
from tertulia.storage.database.units import Database
from tertulia.storage.turn.values import Claim
from tertulia.tools.values import ToolOutcome


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that a state offers, in the version that its constraint chose."""

    tool_id: str
    name: str
    description: str
    version: str
    input_schema: Mapping[str, Any]
    needs_confirmation: bool = False


@dataclass(frozen=True, slots=True)
class CallPlace:
    """The place of a call in its turn, as invocations tell it. Rounds and transitions count from 1.

    `graph` is the version of the context graph that has the state.
    """

    type: Literal["state-transition", "engage-user", "tool-call-state"]
    graph: VersionInfo
    state: str
    round_index: int = 1
    transition_index: int = 1


class Toolbox(Protocol):
    """The tools of an organization, as one turn of one user may call them."""

    async def find(self, spec: ToolCallSpec) -> Tool:
        """Return the greatest active version that fits the constraint.

        Raises:
            ToolMissing: there is no such tool, or no such version.
        """
        ...

    async def call(self, tool: Tool, arguments: Mapping[str, Any], place: CallPlace, key: str) -> ToolOutcome:
        """Call a tool with the variables of this moment, put the invocation on record, and return its outcome.

        The record does not depend on the turn: a void turn keeps it. A cancelled call stops the tool at once.
        """
        ...


class Toolboxes(Protocol):
    """The tools of a server."""

    def of(self, database: Database, claim: Claim) -> Toolbox:
        """Get the tools that the turn of a claim may call."""
        ...


class _NoTools:
    async def find(self, spec: ToolCallSpec) -> Tool:
        raise ToolMissing(f"There is no tool {spec.tool_id}.")

    async def call(self, tool: Tool, arguments: Mapping[str, Any], place: CallPlace, key: str) -> ToolOutcome:
        raise ToolMissing(f"There is no tool {tool.tool_id}.")

    def of(self, database: Database, claim: Claim) -> Toolbox:
        return self


NO_TOOLBOX: Toolbox = _NoTools()
"""A toolbox without tools."""

NO_TOOLBOXES: Toolboxes = _NoTools()
"""A server without tools."""
