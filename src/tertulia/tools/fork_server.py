"""The process of one tool version, as the server holds it: calls go in by a socket, and it can be killed whole."""

import asyncio
import json
import marshal
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from tertulia.tools import scratch
from tertulia.tools.launch import Started

_MOST_BYTES = 200_000
_LAST_WORD_S = 0.5
"""Seconds in which what stands around a process that has ended may tell how; then all of the group is killed."""

_ENDING_S = 2.0
_ENDED_BY_SIGNAL = 128
RECYCLED_AFTER = 1000
"""Calls after which a process is replaced by a fresh one."""


class ForkServer:
    """A confined process that forks for each call. It is dead when it has hung up, or has said what makes no sense."""

    def __init__(self, started: Started, folder: Path, user: int | None) -> None:
        self._process = started.process
        self._control = started.control
        self.folder = folder
        self.user = user
        self.dead = False
        self.failure: dict[str, Any] | None = None
        self.has_loaded = False
        self.running = 0
        self.served = 0
        self.idle_since = 0.0
        self._ends: dict[int, asyncio.Future[int]] = {}
        self._hung_up = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._control, self._receive)

    @property
    def pid(self) -> int:
        """The process's id, which is that of its group too."""
        return self._process.pid

    def begin(self, descriptors: Sequence[int]) -> tuple[int, Path]:
        """Have a call begun in a folder of its own, with these descriptors. Return its number and the folder.

        Raises:
            OSError: the process takes no more calls, or the folder cannot be made.
        """
        self.served += 1
        number = self.served
        folder = scratch.make(self.folder, str(number), self.user)
        self._ends[number] = self._loop.create_future()
        message = marshal.dumps({"number": number, "folder": str(folder)}, 4)
        socket.send_fds(self._control, [message], list(descriptors))
        return number, folder

    async def status(self, number: int, patience_s: float) -> int | None:
        """Wait for the end of a call's process. Return its wait status, None if it is not told in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                return await asyncio.shield(self._ends[number])
        return None

    async def hung_up(self, patience_s: float) -> None:
        """Wait until the process has hung up, and has said why if it does, but no longer than that."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._hung_up.wait()

    async def last_status(self) -> int | None:
        """Wait for the end of the process itself, which has hung up. Return its wait status, None if it lives on."""
        try:
            code = await asyncio.to_thread(self._process.wait, _ENDING_S)
        except subprocess.TimeoutExpired:
            return None
        if code > _ENDED_BY_SIGNAL:  # so bubblewrap tells the signal that ended what it had started
            return code - _ENDED_BY_SIGNAL
        return -code if code < 0 else code << 8

    def forget(self, number: int) -> None:
        """Forget a call that is over."""
        self._ends.pop(number, None)

    def members(self) -> list[int]:
        """List the processes of the group that live, as the system tells it. Return their ids."""
        found: list[int] = []
        for name in os.listdir("/proc"):
            if name.isdecimal():
                with suppress(OSError):
                    if os.getpgid(int(name)) == self.pid and not _is_zombie(name):
                        found.append(int(name))
        return found

    def has_strays(self, helpers: int) -> bool:
        """Count the group. Return True if it has more than the forking process, its helpers, and one for each call.

        Calls begin and end while the system is asked; so only processes count that were there before and after.
        """
        before = self.members()
        expected = 1 + helpers + self.running
        return len(before) > expected and len({*before} & {*self.members()}) > expected

    def kill(self) -> None:
        """Kill the process and all that it has started."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._hang_up()

    async def aclose(self) -> None:
        """Kill the process and all that it has started, wait for its end, and remove its folder."""
        self.kill()
        await asyncio.to_thread(self._reap)

    def _reap(self) -> None:
        self._process.wait(_ENDING_S)
        with suppress(OSError):
            scratch.remove(self.folder)

    def _hang_up(self) -> None:
        if not self.dead:
            self.dead = True
            self._hung_up.set()
            self._loop.remove_reader(self._control)
            self._control.close()
        for end in self._ends.values():
            if not end.done():
                end.set_result(-1)

    def _receive(self) -> None:
        try:
            told = self._control.recv(_MOST_BYTES)
            message: object = json.loads(told) if told else None
        except (BlockingIOError, ConnectionResetError):
            return  # a process that ends with calls unread is told by a reset, and only then by its last message
        except (OSError, ValueError, RecursionError):
            self.kill()
            return
        if message is None:
            self._hang_up()
            self._loop.call_later(_LAST_WORD_S, self.kill)  # at once, it would be the cause of death that is told
        elif not self._understood(message):
            self.kill()

    def _understood(self, message: object) -> bool:
        """Take a message in. Return False for the end, and for what an honest process does not say."""
        if not isinstance(message, dict):
            return False
        told = cast("dict[str, Any]", message)
        failed = told.get("failed")
        if isinstance(failed, dict):
            self.failure = cast("dict[str, Any]", failed)
            return False
        number, status = told.get("ended"), told.get("status")
        end = self._ends.get(number) if isinstance(number, int) else None
        if not isinstance(status, int) or (end is None and not 0 < cast("int", number) <= self.served):
            return False
        if end is not None and not end.done():
            end.set_result(status)
        return True


def _is_zombie(process: str) -> bool:
    with open(f"/proc/{process}/stat") as told:
        return told.read().rpartition(")")[2].split()[0] in {"Z", "X"}
