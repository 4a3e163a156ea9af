"""What is used of sounddevice, which has no types: https://python-sounddevice.readthedocs.io."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal, Self

class PortAudioError(Exception): ...

class _Stream:
    def __init__(
        self,
        samplerate: float,
        blocksize: int,
        *,
        channels: int,
        dtype: Literal["int16"],
        latency: float,
        callback: Callable[[memoryview, int, Any, Any], None],
        finished_callback: Callable[[], None] | None = None,
    ) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

class RawInputStream(_Stream): ...
class RawOutputStream(_Stream): ...

def query_devices(device: None = None, kind: Literal["input", "output"] = ...) -> dict[str, Any]: ...
