"""The time that a sandbox adds to a tool: its first call, whose process has to start, and those after it."""

import asyncio
import socket
import statistics
import time
from dataclasses import replace
from pathlib import Path

from bench.figures import PRODUCT, Bound, Figure, Section
from bench.load import NotAResult
from bench.setting import Setting
from tertulia.tools import archive
from tertulia.tools import host as hosts
from tertulia.tools.host import Host
from tertulia.tools.sandbox import Sandbox
from tertulia.tools.values import ToolCall, ToolProgram, ToolSucceeded

COLD_MS, WARM_MS = 60.0, 5.0
COLD_CALLS, WARM_CALLS = 15, 200

_PROJECT = {
    "tool.toml": b'name = "empty"\n[input_schema]\ntype = "object"\n',
    "tool.py": b"def run(input, context):\n    return 'done'\n",
}
_TEXT = (
    "A tool that does nothing is called in this process, one call after the other; the time of a call is all that the "
    "sandbox adds. Cold: its process is started for the call. Warm: the process stands, and forks. Medians."
)


def measure(setting: Setting) -> Section:
    host = hosts.probe(setting.folder)
    if not host.confines:
        raise NotAResult("this host cannot confine tool code")
    levels = {"": replace(host, bubblewrap="")} | ({", in bubblewrap": host} if host.bubblewrap else {})
    figures: list[Figure] = []
    for level, confined in levels.items():
        cold, warm = asyncio.run(_times(setting.folder / "tools", confined))
        figures += [
            Figure(f"cold call{level}", "ms", {PRODUCT: cold}, bound=Bound(cold, COLD_MS, "at most")),
            Figure(f"warm call{level}", "ms", {PRODUCT: warm}, bound=Bound(warm, WARM_MS, "at most")),
        ]
    return Section("Tools in a sandbox", figures, _TEXT)


async def _times(cache: Path, host: Host) -> tuple[float, float]:
    packed = archive.pack(_PROJECT)
    manifest = archive.project_manifest(_PROJECT)
    program = ToolProgram(
        "bench", "empty", "1.0.0", "code", manifest.definition(), manifest.input_schema, archive.digest(packed)
    )

    async def load(_: str) -> bytes:
        return packed

    cold: list[float] = []
    warm: list[float] = []
    for _ in range(COLD_CALLS):
        sandbox = Sandbox(cache, load, _connect, host)
        try:
            cold.append(await _time(sandbox, program))
            warm += [await _time(sandbox, program) for _ in range(WARM_CALLS // COLD_CALLS)]
        finally:
            await sandbox.aclose()
    return statistics.median(cold), statistics.median(warm)


async def _time(sandbox: Sandbox, program: ToolProgram) -> float:
    began = time.perf_counter()
    outcome = await sandbox.call(program, ToolCall({}, "key", {}, {}, {}))
    if not isinstance(outcome, ToolSucceeded):
        raise NotAResult(f"a tool failed: {outcome.exception_type}")
    return 1000 * (time.perf_counter() - began)


async def _connect(host: str, port: int) -> socket.socket:
    raise PermissionError(f"{host}:{port}")
