"""The tools that a turn may call: the protocol, and the values that pass."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import msgspec

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
        """Get the tools that the turn of a claim may call. Return them."""
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


class HeldToolbox:
    """A toolbox whose calls wait until it is certain that they are wanted."""

    def __init__(self, toolbox: Toolbox) -> None:
        self._toolbox = toolbox
        self._certain = asyncio.Event()

    def let_go(self) -> None:
        """Make the calls that wait, and later ones at once."""
        self._certain.set()

    async def find(self, spec: ToolCallSpec) -> Tool:
        return await self._toolbox.find(spec)

    async def call(self, tool: Tool, arguments: Mapping[str, Any], place: CallPlace, key: str) -> ToolOutcome:
        await self._certain.wait()
        return await self._toolbox.call(tool, arguments, place, key)


@dataclass(frozen=True, slots=True)
class TurnTools:
    """The tools of a turn. A call that takes longer than `patience_s` seconds is stopped.

    `attempt` names the request that the turn answers: the same when it is tried again.
    """

    toolbox: Toolbox = NO_TOOLBOX
    attempt: str = ""
    patience_s: float = 60

    def key(self, place: CallPlace, tool_id: str, number: int) -> str:
        """Name a call: the `number`th of a tool in a round. Return the same when the turn is tried again."""
        where = [place.type, place.graph, place.state, place.transition_index, place.round_index]
        told = msgspec.json.encode([self.attempt, *where, tool_id, number])
        return hashlib.sha256(told).hexdigest()[:32]
