"""Tools whose strings a test holds: scripted answers, and a record of every call."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tertulia.engine.agent.toolbox import CallPlace, Tool
from tertulia.engine.graph.context_graph import ToolCallSpec
from tertulia.errors import ToolMissing
from tertulia.tools.values import ToolFailed, ToolOutcome, ToolSucceeded

Answer = Callable[[Mapping[str, Any]], str | ToolOutcome | Awaitable[str | ToolOutcome]]

WEATHER, BOOK, BROKEN = "1" * 24, "2" * 24, "3" * 24
"""Tools that a `ScriptedToolbox` has from the start."""

CITY = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "A town"}},
    "required": ["city"],
    "additionalProperties": False,
}
SLOT = {
    "type": "object",
    "properties": {
        "day": {"type": "string", "enum": ["Monday", "Tuesday"]},
        "hour": {"type": "integer", "minimum": 8, "maximum": 18},
        "note": {"type": "string"},
    },
    "required": ["day", "hour"],
    "additionalProperties": False,
}


@dataclass(frozen=True)
class Made:
    """A call that a turn made."""

    tool: Tool
    arguments: Mapping[str, Any]
    place: CallPlace
    key: str


def _weather(arguments: Mapping[str, Any]) -> str:
    return f"Rain in {arguments['city']}."


def _book(arguments: Mapping[str, Any]) -> str:
    return f"Booked {arguments['day']} at {arguments['hour']}."


def _break(_arguments: Mapping[str, Any]) -> ToolOutcome:
    return ToolFailed("ValueError", "no such town", ("line 1",), 12)


@dataclass
class ScriptedToolbox:
    """Tools of one version, 1.2.0, for every turn; it is a server's toolboxes too."""

    tools: dict[str, Tool] = field(default_factory=dict[str, Tool])
    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])
    calls: list[Made] = field(default_factory=list[Made])
    stopped: list[str] = field(default_factory=list[str])
    """Names of tools that were stopped while they ran."""
    running: int = 0
    most_running: int = 0

    def __post_init__(self) -> None:
        self.add(WEATHER, "weather", "Tells the weather of a town.", CITY, _weather)
        self.add(BOOK, "book_slot", "Books an appointment.", SLOT, _book)
        self.add(BROKEN, "broken", "Breaks always.", {"type": "object", "properties": {}}, _break)

    def add(
        self, tool_id: str, name: str, description: str, schema: Mapping[str, Any], answer: Answer, **fields: Any
    ) -> str:
        """Add a tool. Return its identifier."""
        self.tools[tool_id] = Tool(tool_id, name, description, "1.2.0", schema, **fields)
        self.answers[tool_id] = answer
        return tool_id

    def of(self, database: Any, claim: Any) -> "ScriptedToolbox":
        return self

    async def find(self, spec: ToolCallSpec) -> Tool:
        if spec.tool_id not in self.tools or spec.version_constraint not in (">=1", "==1.2.0"):
            raise ToolMissing(f"There is no tool {spec.tool_id} of a version {spec.version_constraint}.")
        return self.tools[spec.tool_id]

    async def call(self, tool: Tool, arguments: Mapping[str, Any], place: CallPlace, key: str) -> ToolOutcome:
        self.calls.append(Made(tool, arguments, place, key))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            answer = self.answers[tool.tool_id](arguments)
            if not isinstance(answer, str | ToolSucceeded | ToolFailed):
                answer = await answer
        except asyncio.CancelledError:
            self.stopped.append(tool.name)
            raise
        finally:
            self.running -= 1
        return ToolSucceeded(answer, 250) if isinstance(answer, str) else answer

    @property
    def made(self) -> Sequence[tuple[str, dict[str, Any]]]:
        """The calls, by the tools' names, with their arguments."""
        return [(call.tool.name, dict(call.arguments)) for call in self.calls]
