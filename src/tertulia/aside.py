"""Work beside the event loop that keeps the interpreter to itself: one piece at a time, whoever asks for it.

A thread that decodes a large body does not let the loop run meanwhile. Several of them take turns with each other, and
the loop waits for all.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Aside:
    """A thread for pieces of work of some hundredths of a second each, which are done in the order they came in."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="aside")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do a piece of work when those before it are done. Return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))

    def close(self) -> None:
        """End the thread; work that waits is not done any more."""
        self._thread.shutdown(wait=False, cancel_futures=True)
