"""Work that waits for a thread of the database, and the event loops that wait for its result."""

import asyncio
import queue
from collections.abc import Sequence
from typing import Any, TypeVar


class Waiting:
    """A piece of work, and the future of its result: an outcome is a value, or an error."""

    __slots__ = ("future", "loop", "outcome")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.future: asyncio.Future[Any] = loop.create_future()
        self.outcome: tuple[Any, BaseException | None] = (None, None)

    def settle(self) -> None:
        """Give the outcome to whoever waits, on their event loop."""
        if self.future.done():  # its caller was cancelled; the work stands all the same
            return
        result, error = self.outcome
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


W = TypeVar("W", bound=Waiting)


def take(jobs: "queue.SimpleQueue[W | None]", most: int) -> tuple[list[W], bool]:
    """Wait for work. Return what there is, at most so much, and False if there will be no more."""
    taken: list[W] = []
    job = jobs.get()
    while job is not None:
        taken.append(job)
        if len(taken) == most:
            return taken, True
        try:
            job = jobs.get_nowait()
        except queue.Empty:
            return taken, True
    return taken, False


def deliver(jobs: Sequence[Waiting]) -> None:
    """Wake each event loop once for all its work."""
    for loop in {job.loop for job in jobs}:
        mine = [job for job in jobs if job.loop is loop]
        try:
            loop.call_soon_threadsafe(_settle_all, mine)
        except RuntimeError:  # the loop is closed, and with it whoever waited
            continue


def _settle_all(jobs: Sequence[Waiting]) -> None:
    for job in jobs:
        job.settle()
