"""A command at a terminal, as a person has it."""

import os
import pty
import re
import signal
import subprocess
import termios
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from support.commands import PATIENCE_S

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-ln-z]")


class Terminal:
    """A terminal; a test waits for what a command shows on it."""

    def __init__(self, process: "subprocess.Popen[bytes]", end: int) -> None:
        self._process = process
        self._end = end
        self._shown = b""

    @property
    def shown(self) -> str:
        return self._shown.decode(errors="replace")

    @property
    def lines(self) -> list[str]:
        """The lines that stay on the screen, without colours."""
        return [line.rpartition("\r")[2] for line in _STEERING.sub("\r", _COLOURS.sub("", self.shown)).split("\r\n")]

    def until(self, text: str) -> None:
        try:
            while text not in self.shown:
                self.read()
        except OSError:  # it has left
            raise AssertionError(f"{text!r} is not in what the command has shown: {self.shown}") from None

    def type(self, line: str) -> None:
        os.write(self._end, f"{line}\n".encode())

    def leave(self) -> int:
        """Press Ctrl-C, and read what is said to that; the exit status."""
        self._process.send_signal(signal.SIGINT)
        return self.end()

    def interrupt_all(self) -> None:
        """Press Ctrl-C where a command has started others: a terminal tells all of them."""
        os.killpg(self._process.pid, signal.SIGINT)

    def end(self) -> int:
        """Wait until the command has ended, and read what it says last; its exit status."""
        status = self._process.wait(PATIENCE_S)
        try:
            while True:
                self.read()
        except OSError:  # it has left
            return status

    def read(self) -> None:
        """Wait until the command shows something more."""
        self._shown += os.read(self._end, 4096)


@contextmanager
def at_a_terminal(
    command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None, columns: int = 80
) -> Generator[Terminal]:
    """Run a command at a terminal of its own, in a folder, in which it keeps its state too."""
    plain = {
        name: value
        for name, value in os.environ.items()
        if name not in {"COLUMNS", "DISPLAY", "LINES", "WAYLAND_DISPLAY"}
    }
    environment = {**(environment or plain), "XDG_STATE_HOME": str(folder / "state")}
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (24, columns))
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
