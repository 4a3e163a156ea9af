"""The line by which a tool asks for connections: the server judges, connects, and hands the connected socket over."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import cast

from tertulia.tools.manifest import HostPort

Connect = Callable[[str, int], Awaitable[socket.socket]]
"""Connect to a host and a port, if that may be reached. The texts of its OSErrors may be told to the tool."""

MOST_CONNECTIONS = 200
"""Connections that one call may ask for."""
_MOST_BYTES = 4096
_LONGEST_TEXT = 300


async def serve(line: socket.socket, hosts: Sequence[HostPort], connect: Connect) -> None:
    """Answer what a call asks for, until the line ends."""
    loop = asyncio.get_running_loop()
    for _ in range(MOST_CONNECTIONS):
        question = await loop.sock_recv(line, _MOST_BYTES)
        if not question:
            return
        try:
            connected = await connect(*_permitted(question, hosts))
        except OSError as error:
            kind = "PermissionError" if isinstance(error, PermissionError) else "ConnectionError"
            await loop.sock_sendall(line, json.dumps([kind, str(error)[:_LONGEST_TEXT]]).encode())
            continue
        with connected, suppress(OSError):
            socket.send_fds(line, [b"1"], [connected.fileno()])


def _permitted(question: bytes, hosts: Sequence[HostPort]) -> tuple[str, int]:
    """Read a question. Return the host and the port.

    Raises:
        PermissionError: the tool's manifest does not list them.
    """
    try:
        asked: object = json.loads(question)
    except (ValueError, RecursionError):
        asked = None
    host, port = (
        cast("list[object]", asked) if isinstance(asked, list) and len(cast("list[object]", asked)) == 2 else ("", 0)
    )
    if isinstance(host, str) and isinstance(port, int):
        wanted = HostPort(host.lower().removesuffix("."), port)
        if wanted in hosts:
            return wanted.host, wanted.port
    raise PermissionError(f"{str(host)[:100]}:{str(port)[:10]} is not among the network.hosts of tool.toml.")
