"""The processes of tools that stand ready: one for each tool version that was called lately, and they end when idle."""

import asyncio
import fcntl
import os
import secrets
from collections.abc import Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tertulia.tools import launch, scratch
from tertulia.tools.fork_server import RECYCLED_AFTER, ForkServer
from tertulia.tools.host import Host
from tertulia.tools.manifest import Manifest
from tertulia.tools.packages import Prepared

IDLE_S = 60.0
"""The time after which a process of a tool that nobody calls ends, in seconds."""
CALLS_BETWEEN_LOOKS = 20
"""Calls of a process after which it is looked for processes that it should not have started."""
HELPERS = 2
"""Processes that bubblewrap adds to a group."""
MOST_STANDING = 32
"""Processes that stand ready at once; beyond that the one that was used longest ago ends."""


@dataclass(frozen=True, slots=True)
class Version:
    """A tool version that is ready to be started. `key` tells versions apart."""

    key: Hashable
    manifest: Manifest
    prepared: Prepared


@dataclass(slots=True)
class _Place:
    """The place of a version in the pool: its process, if one stands, and who may start it."""

    starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    server: ForkServer | None = None


class Pool:
    """The processes of tools. A tool with several processes of its own has one for each call, to be killed whole."""

    def __init__(self, host: Host, folder: Path) -> None:
        self._host = host
        self._helpers = HELPERS if host.bubblewrap else 0
        self._folder = Workplace(folder)
        self._places: dict[Hashable, _Place] = {}
        self._servers: set[ForkServer] = set()
        self._slots: dict[ForkServer, int] = {}
        self._kept: dict[ForkServer, Prepared] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()

    async def take(self, version: Version) -> ForkServer:
        """Give the process of a version, started if none stands ready. Return it.

        Raises:
            OSError: it cannot be started.
        """
        if version.manifest.limits.processes > 1:
            return await self._start(version)
        place = self._places.pop(version.key, None) or _Place()
        self._places[version.key] = place  # the last is the one that was used last
        async with place.starting:
            if place.server is None or place.server.dead or place.server.served >= RECYCLED_AFTER:
                former, place.server = place.server, None
                self._retire(former)
                place.server = await self._start(version)
            place.server.idle_since = self._loop.time()
            server = place.server
        self._end_the_oldest()
        return server

    def release(self, server: ForkServer) -> None:
        """Take a process back after a call. It ends if it stands in no place any more, and else when it is idle."""
        server.idle_since = self._loop.time()
        if server.served % CALLS_BETWEEN_LOOKS == 0:
            self._track(asyncio.create_task(self._look(server)))
        if server.dead or not any(place.server is server for place in self._places.values()):
            self._retire(server)
        else:
            self._loop.call_later(IDLE_S, self._end_if_idle, server)

    async def aclose(self) -> None:
        """End all processes, and remove their folders."""
        for server in list(self._servers):
            self._end(server)
        while self._ending:
            await asyncio.wait(self._ending)
        await asyncio.to_thread(self._folder.close)

    async def _start(self, version: Version) -> ForkServer:
        slot = next(number for number in count() if number not in self._slots.values())
        user = self._host.user(slot)
        kept = version.prepared.another()  # the process reads them as long as it stands
        try:
            folder = self._folder.make(user)
            try:
                started = await launch.start(self._host, version.manifest, version.prepared, folder, user)
            except BaseException:
                with suppress(OSError):
                    scratch.remove(folder)
                raise
        except BaseException:
            kept.close()
            raise
        server = ForkServer(started, folder, user)
        self._servers.add(server)
        self._slots[server] = slot
        self._kept[server] = kept
        return server

    def _retire(self, server: ForkServer | None) -> None:
        if server is not None and not server.running:
            self._end(server)

    def _end_if_idle(self, server: ForkServer) -> None:
        if not server.running and self._loop.time() - server.idle_since >= IDLE_S:
            self._end(server)

    def _end_the_oldest(self) -> None:
        while len(self._places) > MOST_STANDING:
            key = next(iter(self._places))
            self._retire(self._places.pop(key).server)

    def _end(self, server: ForkServer) -> None:
        if server not in self._servers:
            return
        self._servers.discard(server)
        for key in [key for key, place in self._places.items() if place.server is server]:
            if not self._places[key].starting.locked():
                del self._places[key]
        server.kill()
        self._track(asyncio.create_task(self._ended(server)))

    def _track(self, task: asyncio.Task[None]) -> None:
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _look(self, server: ForkServer) -> None:
        """End a process that has started others beside its calls."""
        if await asyncio.to_thread(server.has_strays, self._helpers):
            server.kill()

    async def _ended(self, server: ForkServer) -> None:
        try:
            await server.aclose()
        finally:
            self._slots.pop(server, None)
            self._kept.pop(server).close()


class Workplace:
    """The folder of this process below one that several share; a lock tells the others that it is in use."""

    def __init__(self, shared: Path) -> None:
        self._shared = shared
        self._path = shared / secrets.token_hex(8)
        self._lock = -1

    def make(self, user: int | None) -> Path:
        """Make the folder of one process of tools, which it may write. Return it."""
        if self._lock < 0:
            self._open()
        return scratch.make(self._path, secrets.token_hex(8), user)

    def close(self) -> None:
        """Remove the folder, and all in it."""
        if self._lock >= 0:
            with suppress(OSError):
                scratch.remove(self._path)
                self._path.with_suffix(".lock").unlink()
            os.close(self._lock)
            self._lock = -1

    def _open(self) -> None:
        self._shared.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._remove_left()
        self._lock = os.open(self._path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._path.mkdir(mode=0o711)

    def _remove_left(self) -> None:
        """Remove the folders of processes that were killed."""
        for path in self._shared.glob("*.lock"):
            with suppress(OSError):
                opened = os.open(path, os.O_RDWR | os.O_CLOEXEC)
                try:
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    if path.with_suffix("").is_dir():
                        scratch.remove(path.with_suffix(""))
                    path.unlink()
                finally:
                    os.close(opened)
