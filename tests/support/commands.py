"""Commands as processes of their own, as a person or a script starts them."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TERTULIA = str(Path(sys.executable).with_name("tertulia"))
PATIENCE_S = 60

Command = Callable[..., "subprocess.CompletedProcess[str]"]
"""Runs `tertulia` to its end."""


@dataclass
class Process:
    """A server that a command started; `lines` is what it printed until it said that it answers."""

    process: "subprocess.Popen[str]"
    lines: list[str]

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def read_until(self, text: str) -> None:
        """Read its output up to a line with this text."""
        stdout = self.process.stdout
        assert stdout is not None
        watch = threading.Timer(PATIENCE_S, self.process.kill)
        watch.start()
        try:
            for line in stdout:
                self.lines.append(line)
                if text in line:
                    return
        finally:
            watch.cancel()
        raise AssertionError(f"it ended with {self.process.wait(PATIENCE_S)}: {self.output}")

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Its exit status."""
        self.process.send_signal(how)
        return self.process.wait(PATIENCE_S)


Start = Callable[..., Process]
"""Starts a `tertulia` that serves."""
