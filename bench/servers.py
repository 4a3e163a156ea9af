"""The servers that are measured, each one process on a core of its own."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import psutil

from bench.http import address_of
from bench.load import NotAResult
from bench.machine import ROOT, pinned
from tertulia.api.http.openapi import PATH as DOCUMENT

PIECES = 20
"""Pieces of a reply."""

START_S = 180
STOP_S = 30

_ANSWERS = re.compile(r" answers on (http://[^\s.]\S*)$", re.MULTILINE)


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

    def pss_mib(self) -> float:
        """Memory in use now, a page that processes share counted once."""
        return sum(one.memory_full_info().pss for one in self._processes()) / 2**20

    def _processes(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


@contextmanager
def tertulia(
    data: Path,
    cores: frozenset[int],
    settings: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    under: Sequence[str] = (),
) -> Generator[Server]:
    """The product as it ships, but for rate limits: `tertulia serve` on an installation, with the scripted model.

    `settings` change that, by the names of their variables without the prefix; `under` are the words of a command that
    runs it.
    """
    variables = {"MODEL": "scripted", "RATE_LIMITS": "off", "SCRIPTED_PIECES": str(PIECES), **(settings or {})}
    serve = [sys.executable, "-m", "tertulia.cli", "serve", "--data", str(data), "--port", "0", *options]
    command = [*under, *serve]
    with running(command, cores, {f"TERTULIA_{name}": value for name, value in variables.items()}, data) as server:
        _have_all_loaded(server)
        yield server


@contextmanager
def bare(
    lines: Path, cores: frozenset[int], delay_ms: float = 0, app: str = "create_app", under: Sequence[str] = ()
) -> Generator[Server]:
    """The bare application, or another one of its module, streaming the lines of a file."""
    command = [*under, sys.executable, "-m", "bench.bare", str(lines), str(delay_ms), app]
    with running(command, cores, {}, lines.parent) as server:
        yield server


@contextmanager
def fake_model(folder: Path, cores: frozenset[int]) -> Generator[Server]:
    """A server of OpenAI's chat completions; see fake_model.py."""
    with running([sys.executable, "-m", "bench.fake_model"], cores, {}, folder) as server:
        yield server


@contextmanager
def running(
    command: Sequence[str], cores: frozenset[int], variables: Mapping[str, str], folder: Path, place: Path = ROOT
) -> Generator[Server]:
    """Any server that says where it answers, as Tertulia does."""
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".log", delete=False) as output, pinned(cores):
        process = subprocess.Popen(command, cwd=place, env={**environment(), **variables}, stdout=output, stderr=output)
    try:
        yield Server(_wait_for_address(process, Path(output.name)), psutil.Process(process.pid))
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _have_all_loaded(server: Server) -> None:
    """Ask for the document of the API: a process that answered has no operations left to import meanwhile."""
    with closing(HTTPConnection(*address_of(server.url), timeout=START_S)) as connection:
        connection.request("GET", DOCUMENT)
        connection.getresponse().read()


def environment() -> dict[str, str]:
    """Return the environment of what is measured: without settings, and with modules that are compiled once."""
    dropped = ("PYTHONDONTWRITEBYTECODE", "TERTULIA_")
    return {name: value for name, value in os.environ.items() if not name.startswith(dropped)}


def _wait_for_address(process: subprocess.Popen[bytes], log: Path) -> str:
    ends_at = time.monotonic() + START_S
    while time.monotonic() < ends_at and process.poll() is None:
        found = _ANSWERS.search(log.read_text(encoding="utf-8", errors="replace"))
        if found:
            return found[1]
        time.sleep(0.05)
    raise NotAResult(f"a server did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
