"""The server of a process: uvicorn, but for how it stops.

uvicorn closes its socket first and waits for the application last. Here turns come first: while they run, within the
time of grace, the server answers, says that it is stopping, and refuses new ones.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Protocol

import structlog
import uvicorn
from uvicorn.importer import import_from_string

from tertulia.serving import memory
from tertulia.serving.connections import Bounds, Connections
from tertulia.serving.protocol import BoundedProtocol
from tertulia.serving.websocket import BoundedWebSocket

BACKLOG = 2048
KEEP_ALIVE_S = 65
"""Longer than clients keep idle connections, so that none is closed under a request."""
WEBSOCKET_MESSAGE_BYTES = 1 << 20
"""As long as a message of a live conversation may be (`api.realtime`); a longer one is not even read."""
STOP_S = 15
"""The longest time for which streams may be read on, once all turns have ended."""
LOOK_S = 0.1
STOPS = (signal.SIGINT, signal.SIGTERM)
"""The signals that stop a server."""

_log = structlog.get_logger(__name__)


class Turns(Protocol):
    """The turns of an application, which outlive its requests; `engine.turns.conversations` defines the words."""

    async def drain(self) -> None: ...

    async def void(self) -> None: ...


class Group(Protocol):
    """The other processes that serve on the same socket."""

    def tell(self) -> None:
        """Tell the others that nothing runs here any more."""
        ...

    def is_idle(self) -> bool:
        """Return True if nothing runs anywhere."""
        ...


class Server(uvicorn.Server):
    """The first signal lets turns end, the second voids those that run, the third leaves at once."""

    def __init__(
        self, config: uvicorn.Config, find_turns: Callable[[], Turns | None], ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._find_turns = find_turns
        self._ready = ready
        self._told = 0
        self.deaf_to: int | None = None
        """The signal that is not for this process."""
        self.group: Group | None = None
        """The workers that stop answering together: a connection may end at any of them."""
        self.orphaned = False
        """The process that started this one is gone, and another one may want the port."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        memory.settle()
        _log.info("server started", process=os.getpid())
        self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == self.deaf_to:
            return
        self._told += 1
        self.should_exit = True
        self.force_exit = self._told > 2

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        _log.info("server stops", process=os.getpid(), orphaned=self.orphaned)
        if self.orphaned:
            self._leave_the_port(sockets or [])
        turns = self._find_turns()
        if turns is not None:
            await self._finish(turns)
        if self.group is not None and not self.orphaned:
            await self._wait_for(self.group)
        await super().shutdown(sockets)
        _log.info("server stopped", process=os.getpid())

    def _leave_the_port(self, sockets: list[socket.socket]) -> None:
        for listening in self.servers:
            listening.close()
        for each in sockets:
            each.close()

    async def _finish(self, turns: Turns) -> None:
        draining = asyncio.create_task(turns.drain())
        while self._told < 2 and not draining.done():
            await asyncio.wait([draining], timeout=LOOK_S)
        draining.cancel()
        voiding = asyncio.create_task(turns.void())
        while not self.force_exit and not voiding.done():
            await asyncio.wait([voiding], timeout=LOOK_S)

    async def _wait_for(self, group: Group) -> None:
        group.tell()
        while not self.force_exit and not group.is_idle():  # noqa: ASYNC110 - another process says so
            await asyncio.sleep(LOOK_S)


def make_server(app: str, ready: Callable[[], None]) -> Server:
    """Make a server of the application that a function makes; `app` names it, `MODULE:FUNCTION`."""
    application: Any = import_from_string(app)()
    config = configure(application, Connections(Bounds()))
    return Server(config, lambda: getattr(application, "conversations", None), ready)


def configure(application: Any, connections: Connections) -> uvicorn.Config:
    """Return uvicorn's settings for an application whose connections are in a register."""
    http: Any = partial(BoundedProtocol, connections=connections)
    websocket: Any = partial(BoundedWebSocket, connections=connections)
    return uvicorn.Config(
        application,
        http=http,
        ws=websocket,
        lifespan="on",
        log_config=None,
        access_log=False,
        backlog=BACKLOG,
        server_header=False,
        proxy_headers=False,  # the application knows which proxies to believe
        timeout_keep_alive=KEEP_ALIVE_S,
        ws_max_size=WEBSOCKET_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # sound hardly gets smaller, and each connection would keep its own tables
        timeout_graceful_shutdown=STOP_S,
    )
