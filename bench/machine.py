"""The machine: its cores, who runs on which, and what a reader of the figures has to know of it."""

import os
import platform
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import psutil

ROOT = Path(__file__).parent.parent

_LIBRARIES = ("tertulia", "uvicorn", "uvloop", "httptools", "starlette", "fastapi", "pydantic", "sqlalchemy", "msgspec")
_SYNCS = 50


class Cores(NamedTuple):
    """The core of the server, that of the load, the same where there is only one, and all; empty: cannot be chosen."""

    server: frozenset[int]
    load: frozenset[int]
    all: frozenset[int]


def cores() -> Cores:
    """Those that this process may use."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return Cores(frozenset(allowed[:1]), frozenset(allowed[1:2] or allowed), frozenset(allowed))


@contextmanager
def pinned(cores: frozenset[int]) -> Generator[None]:
    """Keep this process, and those that it starts meanwhile, on some cores."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def folder_on_disk() -> Generator[Path]:
    """A folder for databases, on a real disk: /tmp may be in memory, where a commit costs nothing."""
    place = Path("/var/tmp")  # noqa: S108 - mkdtemp makes a folder of our own in it
    with tempfile.TemporaryDirectory(prefix="tertulia-bench-", dir=place if place.is_dir() else None) as folder:
        yield Path(folder)


def facts(folder: Path) -> dict[str, str]:
    """List what the figures depend on; `folder` is where the databases are."""
    server, load, _all = cores()
    pins = f"server on core {min(server)}, load on core {min(load)}" if server else "not pinned"
    return {
        "machine": f"{_processor()}, {psutil.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB",
        "pins": pins + (" (the same: figures are lower than on two)" if server and server == load else ""),
        "load before": " ".join(f"{load:.2f}" for load in os.getloadavg()),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": ", ".join(f"{name} {version(name)}" for name in _LIBRARIES) + f", SQLite {sqlite3.sqlite_version}",
        "disk": f"a synced write of 4 KiB takes {_sync_ms(folder):.2f} ms",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _sync_ms(folder: Path) -> float:
    path = folder / "sync"
    took: list[float] = []
    with path.open("wb", buffering=0) as file:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(took) * 1000
