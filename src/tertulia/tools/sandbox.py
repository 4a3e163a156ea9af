"""The runner of tools in code: each tool version of an organization has a confined process that forks for each call."""

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from tertulia.tools.values import ToolCall, ToolFailed, ToolOutcome, ToolProgram

Load = Callable[[str], Awaitable[bytes]]
"""Give the archive of a tool's project, of which the SHA-256 is given in hex."""
Connect = Callable[[str, int], Awaitable[socket.socket]]
"""Connect to a host and a port, if that may be reached. The texts of its OSErrors may be told to the tool."""


class Sandbox:
    """The runner of tools in code, a `ToolRunner`. `cache` is a folder of its own, for what can be made again."""

    def __init__(self, cache: Path, load: Load, connect: Connect, *, at_once: int = 16) -> None:
        self._cache = cache
        self._load = load
        self._connect = connect
        self._at_once = at_once

    async def call(self, program: ToolProgram, call: ToolCall) -> ToolOutcome:
        """Call a tool, and return its outcome, failed or not. A cancelled call stops the tool at once."""
        return ToolFailed("SandboxMissing", "This server runs no tools in code yet.", (), 0)

    async def aclose(self) -> None:
        """Stop all that runs."""
