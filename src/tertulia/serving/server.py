"""The server of a process: uvicorn, but for how it stops.

uvicorn closes its socket first and waits for the application last. Here turns come first: while they run, within the
time of grace, the server answers, says that it is stopping, and refuses new ones.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from types import FrameType
from typing import Any, Protocol, cast

import structlog
import uvicorn
from uvicorn.importer import import_from_string

from tertulia.serving import memory
from tertulia.serving.connections import Bounds, Connections
from tertulia.serving.protocol import BoundedProtocol

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
    """A server whose first signal lets turns end, the second voids those that run, the third leaves at once.

    `load` loads, once the server answers, what the application has begun without.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        find_turns: Callable[[], Turns | None],
        ready: Callable[[], None],
        load: Callable[[], Awaitable[None]] | None,
    ) -> None:
        super().__init__(config)
        self._find_turns = find_turns
        self._load = load
        self._loading: asyncio.Task[None] | None = None
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
        if self._load is not None:
            self._loading = asyncio.create_task(self._load_rest(self._load), name="loading")

    @staticmethod
    async def _load_rest(load: Callable[[], Awaitable[None]]) -> None:
        """Load what a start does without, and leave that too out of the search for garbage."""
        await load()
        memory.keep()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig == self.deaf_to:
            return
        self._told += 1
        self.should_exit = True
        self.force_exit = self._told > 2

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        _log.info("server stops", process=os.getpid(), orphaned=self.orphaned)
        if self._loading is not None:
            self._loading.cancel()
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
    load = getattr(application, "load", None)
    return Server(config, lambda: getattr(application, "conversations", None), ready, load)


def configure(application: Any, connections: Connections) -> uvicorn.Config:
    """Return uvicorn's settings for an application whose connections are in a register."""
    http: Any = partial(BoundedProtocol, connections=connections)

    def websocket(*given: Any, **options: Any) -> asyncio.Protocol:
        from tertulia.serving.websocket import BoundedWebSocket  # noqa: PLC0415 - the first one may wait, a start not

        return BoundedWebSocket(*given, connections=connections, **options)

    return uvicorn.Config(
        application,
        http=http,
        ws=cast("Any", websocket),
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
