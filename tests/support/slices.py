"""`tertulia` with a loop that measures itself: `python -m support.slices SOCKET serve ...`.

A slice is one callback of the event loop: nobody else is served meanwhile. Its work is the processor's time of its
thread, whatever else the machine does. A wait is the work of the whole process between two looks of the loop: it is
long as well if another thread keeps the interpreter to itself.
"""

import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LOOK_S = 0.005


@dataclass
class Slices:
    """The longest slice and the longest wait since `reset`, in seconds of work."""

    slice_s: float = 0.0
    callback: str = ""
    wait_s: float = 0.0

    def reset(self) -> None:
        self.slice_s, self.callback, self.wait_s = 0.0, "", 0.0


class Measured:
    """Callbacks run as they would, and are measured."""

    def __init__(self, slices: Slices) -> None:
        self._slices = slices
        self._run: Callable[[Any], None] = asyncio.Handle._run
        self._looked_s = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

    def install(self) -> None:
        modules: dict[str, Any] = sys.modules
        modules["uvloop"] = None  # its callbacks cannot be seen from Python
        handles: Any = asyncio.Handle

        def run(handle: Any) -> None:
            begun = time.thread_time()
            self._run(handle)
            took = time.thread_time() - begun
            if took > self._slices.slice_s:
                self._slices.slice_s, self._slices.callback = took, repr(handle)
            loop = asyncio.get_running_loop()
            if loop is not self._loop:
                self._loop, self._looked_s = loop, 0.0
                loop.call_later(LOOK_S, self._look)

        handles._run = run

    def _look(self) -> None:
        now = time.process_time()
        if self._looked_s:
            self._slices.wait_s = max(self._slices.wait_s, now - self._looked_s)
        self._looked_s = now
        asyncio.get_running_loop().call_later(LOOK_S, self._look)


def _tell(listener: socket.socket, slices: Slices) -> None:
    """Answer each connection with what was measured since the one before."""
    while True:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(json.dumps(asdict(slices)).encode())
            slices.reset()


def take(path: Path) -> Slices:
    """Return what a process has measured since the last time."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        return Slices(**json.loads(connection.makefile("rb").read()))


def main() -> None:
    from tertulia.cli.main import app  # noqa: PLC0415 - after the loop is chosen

    app()


if __name__ == "__main__":
    told = Slices()
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(sys.argv.pop(1))
    listening.listen()
    Measured(told).install()
    threading.Thread(target=_tell, args=(listening, told), daemon=True).start()
    main()
