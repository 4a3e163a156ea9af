"""One call of a tool in its process: what goes in and comes out, what it may use meanwhile, and its certain end."""

import asyncio
import json
import marshal
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tertulia.tools import answers, network, scratch
from tertulia.tools.confinement.calling import LENGTH_BYTES
from tertulia.tools.fork_server import ForkServer
from tertulia.tools.launch import KILOBYTE, MEGABYTE
from tertulia.tools.manifest import Manifest
from tertulia.tools.network import Connect
from tertulia.tools.values import ToolCall, ToolFailed, ToolOutcome

T = TypeVar("T")

MOST_OUTPUT_BYTES = 1 << 20
"""Bytes of standard output and error together; nobody keeps them."""
MOST_THREADS = 64
LOOK_S = 0.05
"""The time between two looks at what a call uses, in seconds."""

_READ_BYTES = 1 << 16
_ESCAPED = 6
"""Bytes that JSON takes for one, at most."""
_STATUS_S = 0.5
_ENDING_S = 2.0
_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class SandboxCall:
    """A call, the tool that it is of, and what the tool may connect by. `hidden` are paths that no failure tells."""

    manifest: Manifest
    call: ToolCall
    connect: Connect
    hidden: Sequence[str]
    helpers: int
    """Processes in the group beside the tool's own: those of bubblewrap."""


class _Breach(Exception):
    """A tool has used more than it may."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class RunningCall:
    """A call that runs in a fork server. `run` gives its outcome; afterwards `end` leaves nothing of it."""

    def __init__(self, server: ForkServer, job: SandboxCall) -> None:
        self._server = server
        self._job = job
        self._loop = asyncio.get_running_loop()
        self._began = time.monotonic()
        self._channel, theirs = socket.socketpair()
        self._line, their_line = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._output, their_output = os.pipe()
        self._pidfd = -1
        self._pid = 0
        self._has_met = False
        self._strays = False
        with theirs, their_line:
            self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            for descriptor in (self._channel.fileno(), self._line.fileno(), self._output):
                os.set_blocking(descriptor, False)
            server.running += 1
            try:
                passed = [theirs.fileno(), their_output, *([their_line.fileno()] if job.manifest.hosts else [])]
                self._number, self._folder = server.begin(passed)
            except OSError:
                server.running -= 1
                self._close()
                raise
            finally:
                os.close(their_output)

    async def run(self) -> ToolOutcome | None:
        """Run the call. Return its outcome, None if it has not begun since the process died before."""
        limits = self._job.manifest.limits
        watched = [self._exchange(), self._drain(), self._watch()]
        try:
            async with asyncio.timeout(limits.wall_seconds):
                return await self._first(watched)
        except TimeoutError:
            text = f"The tool has not answered in {limits.wall_seconds} seconds."
            return answers.failed("TimeLimitExceeded", text, self._ms())
        except _Breach as breach:
            return answers.failed(breach.kind, str(breach), self._ms())

    def kill(self) -> None:
        """Kill the call's process, if it is known yet; if it may have started others, the whole group."""
        if self._job.manifest.limits.processes > 1 or self._strays:
            self._server.kill()
        elif self._pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def end(self) -> None:
        """Wait until nothing of the killed call is left, and remove its folder."""
        try:
            if self._pidfd < 0 and not self._server.dead:
                await self._kill_when_known()
            if self._pidfd >= 0:
                await self._gone()
        finally:
            self._close()
            self._server.running -= 1
            self._server.forget(self._number)
        with suppress(OSError):
            await self._remove()

    async def _remove(self) -> None:
        try:
            self._folder.rmdir()  # most tools write nothing
        except OSError:
            await asyncio.to_thread(scratch.remove, self._folder)

    async def _first(self, watched: Sequence[Coroutine[Any, Any, ToolOutcome | None]]) -> ToolOutcome | None:
        tasks = [asyncio.ensure_future(each) for each in watched]
        lines = [asyncio.ensure_future(self._serve_network())] if self._job.manifest.hosts else []
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return next(task for task in tasks if task in done).result()
        finally:
            for task in [*tasks, *lines]:
                task.cancel()
            await asyncio.gather(*tasks, *lines, return_exceptions=True)

    async def _serve_network(self) -> None:
        with suppress(OSError):
            await network.serve(self._line, self._job.manifest.hosts, self._job.connect)

    async def _exchange(self) -> ToolOutcome | None:
        """Greet the process, hand the call over, read the answer. Return the outcome, None if nothing has begun."""
        if not await self._greeted():
            return await why_not_begun(self._server, self._job, self._ms())
        if not self._server.has_loaded and self._job.manifest.limits.processes == 1:
            await asyncio.to_thread(self._refuse_strays)
        self._server.has_loaded = True
        with suppress(BrokenPipeError, ConnectionResetError):
            await self._loop.sock_sendall(self._channel, _request(self._job.call))
        answer = await self._answer()
        if isinstance(answer, bytes):
            most = self._job.manifest.limits.answer_kb * KILOBYTE
            return answers.of_answer(answer, most, self._hidden(), self._ms())
        return answer

    async def _answer(self) -> bytes | ToolFailed:
        limits = self._job.manifest.limits
        most = limits.answer_kb * KILOBYTE * _ESCAPED + _READ_BYTES
        answer = bytearray()
        length = None
        while length is None or len(answer) < length + LENGTH_BYTES:
            try:
                piece = await self._loop.sock_recv(self._channel, _READ_BYTES)
            except ConnectionResetError:
                piece = b""
            if not piece:
                status = await self._server.status(self._number, _STATUS_S)
                return answers.of_death(status, limits.cpu_seconds, self._ms())
            answer += piece
            if length is None and len(answer) >= LENGTH_BYTES:
                length = int.from_bytes(answer[:LENGTH_BYTES], "big")
            if (length or 0) > most:
                text = f"The answer has more than {limits.answer_kb} kB."
                return answers.failed("AnswerTooLarge", text, self._ms())
        return bytes(answer[LENGTH_BYTES : length + LENGTH_BYTES])

    async def _greeted(self) -> bool:
        """Wait for the process's greeting, by which the kernel tells its id. Return False if none comes."""
        greeting, ancillary, _, _ = await _readable(self._loop, self._channel.fileno(), self._receive_greeting)
        self._has_met = True
        if not greeting:
            return False
        for level, kind, content in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                pid = _CREDENTIALS.unpack_from(content)[0]
                return self._know(pid)
        return False

    def _receive_greeting(self) -> tuple[bytes, list[tuple[int, int, bytes]], int, Any]:
        try:
            return self._channel.recvmsg(1, socket.CMSG_SPACE(_CREDENTIALS.size))
        except ConnectionResetError:
            return b"", [], 0, None

    def _know(self, pid: int) -> bool:
        """Hold the process, so that no other is killed in its place. Return False if it is none of the group."""
        try:
            pidfd = os.pidfd_open(pid)
        except (OSError, ValueError):
            return pid > 0  # it has ended already
        try:
            of_the_group = os.getpgid(pid) == self._server.pid
        except ProcessLookupError:
            of_the_group = True
        if not of_the_group:
            os.close(pidfd)
            self._server.kill()
            return False
        self._pid, self._pidfd = pid, pidfd
        return True

    async def _drain(self) -> None:
        """Read what the tool prints, and keep nothing; raise at too much."""
        held = 0
        while True:
            piece = await _readable(self._loop, self._output, lambda: os.read(self._output, _READ_BYTES))
            held += len(piece)
            if held > MOST_OUTPUT_BYTES:
                raise _Breach("OutputTooLarge", f"The tool has printed more than {MOST_OUTPUT_BYTES} bytes.")
            if not piece:
                await self._loop.create_future()  # whoever closes its output may still answer

    async def _watch(self) -> None:
        """Look at what the call uses, until it is too much."""
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.to_thread(self._look)

    def _look(self) -> None:
        limits = self._job.manifest.limits
        if limits.processes == 1:
            self._refuse_strays()
            group = [self._pid] if self._pid else []
        else:
            group = self._server.members()
            if len(group) > limits.processes + self._job.helpers + 1:
                raise _Breach("ProcessesExceeded", f"The tool has started more than {limits.processes} processes.")
        measured = [_threads_and_memory(process) for process in group]
        if sum(threads for threads, _ in measured) > MOST_THREADS + limits.processes:
            raise _Breach("ThreadsExceeded", f"The tool has started more than {MOST_THREADS} threads.")
        if sum(memory for _, memory in measured) > limits.memory_mb * MEGABYTE * limits.processes:
            raise _Breach("MemoryExceeded", "The tool's processes have used more memory than they may.")
        most = limits.disk_mb * MEGABYTE
        reason = scratch.excess(self._folder, most)
        if reason or sum(map(scratch.removed_but_open, group)) > most:
            raise _Breach("DiskExceeded", reason or f"The tool has written more than {most} bytes.")

    def _refuse_strays(self) -> None:
        """Refuse a tool that starts processes while it is loaded, which no call could be blamed for."""
        if self._server.has_strays(self._job.helpers):
            self._strays = True
            raise _Breach("ProcessesExceeded", "The tool starts processes when it is loaded.")

    async def _kill_when_known(self) -> None:
        """Kill a process that has not greeted yet when it does; kill the whole group if it does not at all."""
        try:
            async with asyncio.timeout(_STATUS_S):
                if not self._has_met and await self._greeted():
                    self.kill()
        except TimeoutError:
            self._server.kill()

    async def _gone(self) -> None:
        """Wait until the process has ended; kill the whole group if it does not."""
        try:
            async with asyncio.timeout(_ENDING_S):
                await _readable(self._loop, self._pidfd, lambda: None)
        except TimeoutError:
            self._server.kill()

    def _hidden(self) -> list[str]:
        return [str(self._folder), *self._job.hidden]

    def _ms(self) -> int:
        return round((time.monotonic() - self._began) * 1000)

    def _close(self) -> None:
        self._channel.close()
        self._line.close()
        os.close(self._output)
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


async def why_not_begun(server: ForkServer, job: SandboxCall, duration_ms: int) -> ToolFailed | None:
    """Find out why a process has not begun a call. Return None if it had loaded the tool: another one may."""
    await server.hung_up(_STATUS_S)
    if server.failure is not None:
        return answers.of_failure(server.failure, job.hidden, duration_ms)
    status = await server.last_status()  # before the kill, which would be taken for the cause
    server.kill()
    if server.has_loaded:
        return None
    return answers.of_death(status, job.manifest.limits.cpu_seconds, duration_ms)


def _request(call: ToolCall) -> bytes:
    """Write a call down for its process, which loads JSON too slowly. Return the message, of plain values alone."""
    told = {
        "arguments": dict(call.arguments),
        "key": call.key,
        "attempt": call.attempt,
        "mode": call.mode,
        "environment": dict(call.environment),
        "user_variables": dict(call.user_variables),
        "secret_user_variables": dict(call.secret_user_variables),
    }
    content = marshal.dumps(json.loads(json.dumps(told)), 4)
    return len(content).to_bytes(LENGTH_BYTES, "big") + content


async def _readable(loop: asyncio.AbstractEventLoop, descriptor: int, read: Callable[[], T]) -> T:
    """Wait until a descriptor can be read. Return what `read` returns then."""
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(descriptor, lambda: ready.done() or ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
    return read()


def _threads_and_memory(process: int) -> tuple[int, int]:
    """Measure a process. Return its threads, and its memory in bytes; zeros if it has ended."""
    found = {"Threads": 0, "VmRSS": 0}
    with suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            name, _, value = line.partition(":")
            if name in found:
                found[name] = int(value.split()[0])
    return found["Threads"], found["VmRSS"] * KILOBYTE
