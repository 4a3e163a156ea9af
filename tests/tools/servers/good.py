"""An MCP server as people write them, with the official library: `python good.py` speaks over standard input."""

import asyncio
import os
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("good")


@server.tool()
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@server.tool()
def describe(city: str) -> dict[str, Any]:
    return {"city": city, "known": True}


@server.tool(structured_output=False)
def say(text: str) -> str:
    return text


@server.tool()
def process() -> int:
    return os.getpid()


@server.tool(name="environmentOf.this")
def environment() -> list[str]:
    return sorted(os.environ)


@server.tool()
def fail(why: str) -> str:
    raise ToolError(why)


@server.tool()
def picture() -> Image:
    return Image(data=b"1234", format="png")


@server.tool(structured_output=False)
def key(ctx: Context) -> str:
    return str(ctx.request_context.meta)


@server.tool()
async def wait(started: str, cancelled: str) -> str:
    """Wait until the call is cancelled, and leave a sign of both."""
    Path(started).touch()  # noqa: ASYNC240 - it is quick
    try:
        await asyncio.Event().wait()
    finally:
        Path(cancelled).touch()  # noqa: ASYNC240 - it is quick
    return "never"


if __name__ == "__main__":
    server.run()
