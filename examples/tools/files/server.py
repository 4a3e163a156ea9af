"""An MCP server that shows the text files of one folder, and nothing above it: `python server.py FOLDER`."""

import sys
from pathlib import Path

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

MOST_BYTES = 100_000

root = Path(sys.argv[1]).resolve(strict=True)
server = MCPServer("files")


def inside(name: str) -> Path:
    """Find a file or folder. Return its path; links that lead out of the folder are followed by nobody."""
    path = (root / name).resolve()
    if not path.is_relative_to(root) or not path.exists():
        raise ToolError(f"{name} is not there, or is no part of this folder.")
    return path


@server.tool(structured_output=False)
def list_files(folder: str = ".") -> str:
    """List the files of a folder, those of its folders with a slash at the end."""
    path = inside(folder)
    if not path.is_dir():
        raise ToolError(f"{folder} is no folder.")
    return "\n".join(sorted(f"{entry.name}/" if entry.is_dir() else entry.name for entry in path.iterdir()))


@server.tool(structured_output=False)
def read_file(name: str) -> str:
    """Read a text file."""
    path = inside(name)
    if not path.is_file():
        raise ToolError(f"{name} is no file.")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise ToolError(f"{name} has more than {MOST_BYTES} bytes.")
    return content.decode(errors="replace")


if __name__ == "__main__":
    server.run()
