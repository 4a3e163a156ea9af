"""A command at a terminal, as a person has it."""

import os
import pty
import signal
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.commands import PATIENCE_S


class Terminal:
    """What a command shows is read as a test waits for it."""

    def __init__(self, process: "subprocess.Popen[bytes]", end: int) -> None:
        self._process = process
        self._end = end
        self._shown = b""

    @property
    def shown(self) -> str:
        return self._shown.decode(errors="replace")

    def until(self, text: str) -> None:
        try:
            while text not in self.shown:
                self._read()
        except OSError:  # it has left
            raise AssertionError(f"{text!r} is not in what the command has shown: {self.shown}") from None

    def type(self, line: str) -> None:
        os.write(self._end, f"{line}\n".encode())

    def leave(self) -> int:
        """Press Ctrl-C, and read what is said to that; the exit status."""
        self._process.send_signal(signal.SIGINT)
        return self.end()

    def end(self) -> int:
        """Wait until the command has ended, and read what it says last; its exit status."""
        status = self._process.wait(PATIENCE_S)
        try:
            while True:
                self._read()
        except OSError:  # it has left
            return status

    def _read(self) -> None:
        self._shown += os.read(self._end, 4096)


@contextmanager
def at_a_terminal(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
) -> Generator[Terminal]:
    """Run a command at a terminal of its own, in a folder."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=environment, start_new_session=True
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
