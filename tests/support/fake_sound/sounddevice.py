"""The library of sound devices as `tertulia.cli.sound` uses it, with files in the current folder for devices.

The microphone hears silence, and `microphone.raw` when that comes; a file `unplugged` is its end. The loudspeaker is
`loudspeaker.raw`. Both run in threads of their own, at the speed of real ones.
"""

import threading
from pathlib import Path
from typing import Any


class PortAudioError(Exception):
    pass


def query_devices(kind: str) -> dict[str, str]:
    return {"name": kind}


class _Stream:
    def __init__(
        self, samplerate: int, blocksize: int, *, callback: Any, finished_callback: Any = None, **_options: Any
    ) -> None:
        self._frames = blocksize or samplerate // 100
        self._pause_s = self._frames / samplerate
        self._callback = callback
        self._finished_callback = finished_callback
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "_Stream":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._pause_s) and not Path("unplugged").exists():
            self._pass(self._frames * 2)
        if self._finished_callback is not None:
            self._finished_callback()

    def _pass(self, size: int) -> None:
        raise NotImplementedError


class RawInputStream(_Stream):
    _sound = b""

    def _pass(self, size: int) -> None:
        file = Path("microphone.raw")
        if file.exists():
            self._sound = file.read_bytes()
            file.unlink()
        block, self._sound = self._sound[:size], self._sound[size:]
        self._callback(memoryview(block.ljust(size, b"\0")), size // 2, None, None)


class RawOutputStream(_Stream):
    def _pass(self, size: int) -> None:
        out = bytearray(size)
        self._callback(memoryview(out), size // 2, None, None)
        with Path("loudspeaker.raw").open("ab") as file:
            file.write(out)
