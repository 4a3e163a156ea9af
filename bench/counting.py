"""Instructions that a server executes, counted by valgrind: a figure without noise, on however busy a machine."""

import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.load import NotAResult
from bench.servers import Server

NEEDED = ("valgrind", "callgrind_control")
_TOTALS = re.compile(r"^totals: (\d+)", re.MULTILINE)
_TIMEOUT_S = 120
_IDLE_S = 8.0
_REST_S = 6.0
"""The time in which the server has done what it does after the answers, such as the index of messages."""


def is_possible() -> bool:
    """Return True if the machine has what counts instructions."""
    return all(map(shutil.which, NEEDED))


@dataclass(frozen=True, slots=True)
class Counted:
    """A server whose instructions can be counted; it is some fifty times as slow meanwhile, else five times."""

    server: Server
    folder: Path

    def count(self, work: Callable[[], object]) -> float:
        """Count the instructions of the server, in all its threads, for something that is done. Return them.

        What is left to be done after the answers is counted. What the server does by the clock is taken off: it counts
        for as long as the work takes, which on a busy machine is several times as long.
        """

        def work_to_the_end() -> None:
            work()
            time.sleep(_REST_S)

        time.sleep(_REST_S)
        idle = self._rate(lambda: time.sleep(_IDLE_S))[0]
        rate, seconds = self._rate(work_to_the_end)
        return (rate - idle) * seconds

    def _rate(self, work: Callable[[], object]) -> tuple[float, float]:
        """Return the instructions in a second while something is done, and the seconds that it takes."""
        began = time.monotonic()
        counted = self._count(work)
        seconds = time.monotonic() - began
        return counted / seconds, seconds

    def _count(self, work: Callable[[], object]) -> int:
        self._control("-z")
        self._control("-i", "on")
        work()
        self._control("-i", "off")
        self._control("--dump")
        dumps = sorted(self.folder.glob("counted.*"), key=lambda file: file.stat().st_mtime_ns)
        found = _TOTALS.search(dumps[-1].read_text(encoding="utf-8", errors="replace")) if dumps else None
        for dump in dumps:
            dump.unlink()
        if found is None:
            raise NotAResult("valgrind has not counted")
        return int(found[1])

    def _control(self, *options: str) -> None:
        command = ["callgrind_control", *options, str(self.server.process.pid)]
        subprocess.run(command, check=True, capture_output=True, timeout=_TIMEOUT_S)


def command_of(folder: Path) -> list[str]:
    """Return the words before a command whose instructions are counted."""
    options = ("--instr-atstart=no", f"--callgrind-out-file={folder}/counted", "--fair-sched=yes")
    return ["valgrind", "--quiet", "--tool=callgrind", *options]
