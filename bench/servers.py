"""The servers that are measured, each one process on a core of its own."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.load import NotAResult
from bench.machine import ROOT, pinned

PIECES = 20
"""Pieces of a reply."""

START_S = 60
STOP_S = 30

_ANSWERS = re.compile(r" answers on (http://\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that runs."""

    url: str
    process: psutil.Process

    def cpu_s(self) -> float:
        """CPU seconds used so far, by all its processes."""
        return sum(times.user + times.system for times in (one.cpu_times() for one in self._processes()))

    def rss_kib(self) -> float:
        """Memory in use now."""
        return sum(one.memory_info().rss for one in self._processes()) / 1024

    def _processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@contextmanager
def tertulia(data: Path, core: int | None, delay_ms: float = 0) -> Generator[Server]:
    """The product as it ships, but for rate limits: `tertulia serve` on an installation, with the scripted model."""
    settings = {
        "MODEL": "scripted",
        "RATE_LIMITS": "off",
        "SCRIPTED_PIECES": str(PIECES),
        "SCRIPTED_DELAY_MS": str(delay_ms),
    }
    command = [sys.executable, "-m", "tertulia.cli", "serve", "--data", str(data), "--port", "0"]
    variables = {f"TERTULIA_{name}": value for name, value in settings.items()}
    with _running(command, core, variables, data / "tertulia.log") as server:
        yield server


@contextmanager
def bare(lines: Path, core: int | None, delay_ms: float = 0) -> Generator[Server]:
    """The bare application, streaming the lines of a file."""
    command = [sys.executable, "-m", "bench.bare", str(lines), str(delay_ms)]
    with _running(command, core, {}, lines.with_name("bare.log")) as server:
        yield server


@contextmanager
def _running(command: Sequence[str], core: int | None, variables: Mapping[str, str], log: Path) -> Generator[Server]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("TERTULIA_")}
    with log.open("wb") as output, pinned(core):
        process = subprocess.Popen(command, cwd=ROOT, env={**inherited, **variables}, stdout=output, stderr=output)
    try:
        yield Server(_wait_for_address(process, log), psutil.Process(process.pid))
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_address(process: subprocess.Popen[bytes], log: Path) -> str:
    ends_at = time.monotonic() + START_S
    while time.monotonic() < ends_at and process.poll() is None:
        found = _ANSWERS.search(log.read_text(encoding="utf-8", errors="replace"))
        if found:
            return found[1]
        time.sleep(0.05)
    raise NotAResult(f"a server did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
