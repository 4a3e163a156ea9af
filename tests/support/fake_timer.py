"""A clock that a test moves by hand."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

STEPS = 20
"""Rounds of the event loop after which everything that could happen without more time has happened."""


@dataclass(eq=False)
class Call:
    at: float
    callback: Callable[[], object]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeTimer:
    """A timer whose time passes only in `advance`."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[Call] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Callable[[], object]) -> Call:
        call = Call(self.now + max(0.0, delay), callback)
        self.calls.append(call)
        return call

    @property
    def waiting(self) -> int:
        """Count the calls that are still to come."""
        return sum(not call.cancelled for call in self.calls)

    async def advance(self, seconds: float) -> None:
        """Let time pass: each call happens at its own moment."""
        until = self.now + seconds
        await settle()
        while due := [call for call in self.calls if not call.cancelled and call.at <= until + 1e-9]:
            call = min(due, key=lambda call: call.at)
            self.calls.remove(call)
            self.now = max(self.now, call.at)
            call.callback()
            await settle()
        self.now = max(self.now, until)
        await settle()


async def settle() -> None:
    """Let every task go as far as it gets."""
    for _ in range(STEPS):
        await asyncio.sleep(0)
