"""Load on a server: wrk where it is installed, else our own generator; what it did, and how busy it was itself."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.http import Create
from bench.machine import ROOT

SATURATED = 0.95
"""A generator that uses more than this share of its core may be what is measured."""
PATIENCE_S = 20
MOST_ALONE_S = 60


class NotAResult(Exception):
    """Something went wrong while it was measured, so there is nothing to report."""


@dataclass(frozen=True, slots=True)
class Load:
    """The result of a load. `cpu_share` is the generator's own, of one core."""

    creates: int
    seconds: float
    cpu_share: float

    @property
    def rate(self) -> float:
        """Creates a second."""
        return self.creates / self.seconds


def choose_generator() -> str:
    """`wrk` where there is one, else `own`."""
    return "wrk" if shutil.which("wrk") else "own"


def run_load(
    generator: str, url: str, path: str, creates: Sequence[Create], folder: Path, connections: int, seconds: float
) -> Load:
    """Load a server for some seconds. The generator runs on the core that this process is pinned to.

    Raises:
        NotAResult: an answer was wrong.
    """
    command = _wrk if generator == "wrk" else _own
    with tempfile.NamedTemporaryFile("w", encoding="ascii", dir=folder) as file:
        _write(file, creates)
        output, cpu_share = _run(command(url, path, Path(file.name), connections, seconds), seconds + PATIENCE_S)
    return _result(url, output, cpu_share)


def run_each_alone(url: str, path: str, creates: Sequence[Create], folder: Path, connections: int) -> Load:
    """Make each create once, on a connection of its own, so many at a time. The generator is our own.

    Raises:
        NotAResult: an answer was wrong.
    """
    with tempfile.NamedTemporaryFile("w", encoding="ascii", dir=folder) as file:
        _write(file, creates)
        command = [*_own(url, path, Path(file.name), connections, MOST_ALONE_S), "alone"]
        output, cpu_share = _run(command, MOST_ALONE_S + PATIENCE_S)
    return _result(url, output, cpu_share)


def _write(file: IO[str], creates: Sequence[Create]) -> None:
    file.writelines(f"{create.token} {create.service_id} {create.message}\n" for create in creates)
    file.flush()


def _result(url: str, output: str, cpu_share: float) -> Load:
    result = json.loads(output.splitlines()[-1])
    if result["errors"] or not result["creates"]:
        raise NotAResult(f"{url}: {result['errors']} wrong answers, {result['creates']} right ones")
    return Load(result["creates"], result["seconds"], cpu_share)


def _own(url: str, path: str, file: Path, connections: int, seconds: float) -> list[str]:
    return [sys.executable, "-m", "bench.generator", url, path, str(file), str(connections), str(seconds)]


def _wrk(url: str, path: str, file: Path, connections: int, seconds: float) -> list[str]:
    script = str(ROOT / "bench" / "wrk.lua")
    options = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s", "-s", script]
    return ["wrk", *options, url, "--", path, str(file)]


def _run(command: list[str], timeout_s: float) -> tuple[str, float]:
    """Its output, and the share of a core that it used."""
    before, began = _cpu_of_children(), time.perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False)
    elapsed = time.perf_counter() - began
    if done.returncode:
        raise NotAResult(f"the generator failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip(), (_cpu_of_children() - before) / elapsed


def _cpu_of_children() -> float:
    times = os.times()
    return times.children_user + times.children_system
