"""Instructions that a server executes, counted by valgrind: a figure without noise, on however busy a machine."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.load import NotAResult
from bench.servers import Server

NEEDED = ("valgrind", "callgrind_control")
_TOTALS = re.compile(r"^totals: (\d+)", re.MULTILINE)
_TIMEOUT_S = 120


def is_possible() -> bool:
    """Return True if the machine has what counts instructions."""
    return all(map(shutil.which, NEEDED))


@dataclass(frozen=True, slots=True)
class Counted:
    """A server whose instructions can be counted; it is some fifty times as slow meanwhile, else five times."""

    server: Server
    folder: Path

    def count(self, work: Callable[[], object]) -> int:
        """Count the instructions of the server, in all its threads, while something is done. Return them."""
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
