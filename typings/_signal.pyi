"""The part of the module `signal` that is written in C, which is loaded without enumerations."""

from collections.abc import Callable
from types import FrameType

SIGCHLD: int
SIGKILL: int
SIG_DFL: int

def signal(number: int, handler: Callable[[int, FrameType | None], object] | int, /) -> object: ...
def set_wakeup_fd(descriptor: int, /, *, warn_on_full_buffer: bool = True) -> int: ...
