"""Tools of a turn that nobody waits for any more: they are stopped, and the turn is void."""

import asyncio
from collections.abc import Mapping
from typing import Any

from tertulia.engine.agent.toolbox import CallPlace, Tool, Toolbox
from tertulia.engine.graph.context_graph import ToolCallSpec
from tertulia.engine.turns.turn import Turn
from tertulia.errors import Conflict
from tertulia.tools.values import ToolOutcome

DESERTED = "The client has left while a tool was running."


class AttendedToolbox:
    """A toolbox whose calls end their turn when its last reader has been gone for `patience_s` seconds.

    It is for the turns of clients that have no other way to cancel than to leave, and none to come back by a key.
    """

    def __init__(self, toolbox: Toolbox, turn: Turn, patience_s: float) -> None:
        self._toolbox = toolbox
        self._turn = turn
        self._patience_s = patience_s

    async def find(self, spec: ToolCallSpec) -> Tool:
        return await self._toolbox.find(spec)

    async def call(self, tool: Tool, arguments: Mapping[str, Any], place: CallPlace, key: str) -> ToolOutcome:
        watch = asyncio.create_task(self._watch())
        try:
            return await self._toolbox.call(tool, arguments, place, key)
        finally:
            watch.cancel()

    async def _watch(self) -> None:
        await self._turn.log.deserted(self._patience_s)
        self._turn.stop(Conflict(DESERTED))
