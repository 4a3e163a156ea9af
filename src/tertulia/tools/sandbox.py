"""The runner of tools in code: each tool version of an organization has a confined process that forks for each call."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import structlog

from tertulia.errors import BadTool
from tertulia.tools import answers
from tertulia.tools import host as hosts
from tertulia.tools import manifest as manifests
from tertulia.tools.fork_server import ForkServer
from tertulia.tools.host import Host
from tertulia.tools.manifest import Manifest
from tertulia.tools.network import Connect
from tertulia.tools.outcomes import without_secrets
from tertulia.tools.packages import MOST_BYTES, Load, NotPrepared, Packages
from tertulia.tools.pool import HELPERS, Pool, Version
from tertulia.tools.running import RunningCall, SandboxCall, why_not_begun
from tertulia.tools.values import ToolCall, ToolFailed, ToolOutcome, ToolProgram

log = structlog.get_logger()

AT_ONCE = 16
"""Calls that run at once in a process of the server."""
PATIENCE_S = 10.0
"""The longest that a call waits for room, in seconds."""
UNCONFINED = "This host cannot confine tool code, so none is run; `tertulia doctor` says what is missing."


@dataclass(frozen=True, slots=True)
class Room:
    """The room that tools have: calls at once in this process, and bytes of the cache for what they run from."""

    at_once: int = AT_ONCE
    cache_bytes: int = MOST_BYTES


class Sandbox:
    """The runner of tools in code, a `ToolRunner`. `cache` is a folder of its own, for what can be made again.

    `load` gives the archive of a digest, `connect` a socket for a host and a port that may be reached. Without `host`
    the sandbox finds out what this host gives when it is first used.
    """

    def __init__(
        self, cache: Path, load: Load, connect: Connect, host: Host | None = None, room: Room = Room()
    ) -> None:
        self._cache = cache.absolute()
        self._load = load
        self._connect = connect
        self._host = host
        self._room = asyncio.Semaphore(room.at_once)
        self._cache_bytes = room.cache_bytes
        self._opening = asyncio.Lock()
        self._opened: tuple[Host, Packages, Pool] | None = None
        self._ending: set[asyncio.Task[None]] = set()

    async def call(self, program: ToolProgram, call: ToolCall) -> ToolOutcome:
        """Call a tool, and return its outcome, failed or not. A cancelled call stops the tool at once."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._room.acquire()
        except TimeoutError:
            return answers.failed("SandboxBusy", "Too many tools are running; try again later.")
        try:
            return await self._call(program, call)
        except (NotPrepared, BadTool) as error:
            return answers.failed("ToolNotPrepared", str(error))
        except OSError as error:
            log.warning("tool_not_started", tool=program.name, version=program.version, error=type(error).__name__)
            return answers.failed("SandboxFailed", "The server could not start the tool.")
        finally:
            self._room.release()

    async def prepare(self, digest: str) -> None:
        """Unpack a tool version and install its packages, so that its first call does not wait for that.

        Raises:
            BadTool: its packages cannot be installed.
        """
        host, packages, _ = await self._open()
        if not host.confines:
            return
        try:
            (await packages.prepare(digest)).close()
        except NotPrepared as error:
            raise BadTool(str(error)) from error

    async def aclose(self) -> None:
        """Stop all that runs."""
        while self._ending:
            await asyncio.wait(self._ending)
        if self._opened is not None:
            _, packages, pool = self._opened
            await packages.aclose()
            await pool.aclose()

    async def _call(self, program: ToolProgram, call: ToolCall) -> ToolOutcome:
        host, packages, pool = await self._open()
        if not host.confines:
            return answers.failed("SandboxUnavailable", UNCONFINED)
        manifest = manifests.read({**program.definition, "input_schema": dict(program.input_schema)})
        with await packages.prepare(program.digest) as prepared:
            key = (program.organization, program.name, program.version, program.digest)
            return await self._call_version(host, pool, Version(key, manifest, prepared), call)

    async def _call_version(self, host: Host, pool: Pool, version: Version, call: ToolCall) -> ToolOutcome:
        manifest, folders = version.manifest, [str(folder) for folder in version.prepared.folders]
        helpers = HELPERS if host.bubblewrap else 0
        for _ in range(2):  # a process may end, for age or by its own fault, before it has begun a call
            server = await pool.take(version)
            hidden = [str(server.folder), *folders, host.stdlib, host.prefix, host.server]
            ended = await self._run(pool, server, SandboxCall(manifest, call, self._connect, hidden, helpers))
            if ended is not None:
                return without_secrets(ended, _keys(manifest, call), call.secret_user_variables.values())
        return _died()

    async def _run(self, pool: Pool, server: ForkServer, job: SandboxCall) -> ToolOutcome | None:
        try:
            running = RunningCall(server, job)
        except OSError:
            try:
                return await why_not_begun(server, job, 0)
            finally:
                pool.release(server)
        try:
            return await running.run()
        finally:
            running.kill()
            task = asyncio.create_task(_end(pool, server, running))  # an answer does not wait for that
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)

    async def _open(self) -> tuple[Host, Packages, Pool]:
        async with self._opening:
            if self._opened is None:
                await asyncio.to_thread(self._cache.mkdir, mode=0o711, parents=True, exist_ok=True)
                host = self._host or await asyncio.to_thread(hosts.probe, self._cache)
                packages = Packages(self._cache, host, self._load, self._cache_bytes)
                self._opened = (host, packages, Pool(host, self._cache / "scratch"))
            return self._opened


async def _end(pool: Pool, server: ForkServer, running: RunningCall) -> None:
    try:
        await running.end()
    finally:
        pool.release(server)


def _keys(manifest: Manifest, call: ToolCall) -> list[str]:
    """List the tool's own secrets that a call is given. Return their values."""
    return [call.environment[name] for name in manifest.secret if name in call.environment]


def _died() -> ToolFailed:
    return answers.failed("ToolDied", "The tool's process ends before it takes a call.")
