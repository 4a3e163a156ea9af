"""The patience with a turn: the longest silence of a step, and the longest time of the whole."""

import asyncio

from tertulia.errors import ModelTimeout, TertuliaError, TurnTooLong


class Patience:
    """The time that one turn has left, by the event loop's clock, in seconds."""

    __slots__ = ("_ends_at", "_now", "_seen_at", "_silence_s", "_total_s")

    def __init__(self, silence_s: float, total_s: float) -> None:
        self._now = asyncio.get_running_loop().time
        self._silence_s = silence_s
        self._total_s = total_s
        self._seen_at = self._now()
        """The time of the last sign of life; in the future while the turn may be silent."""
        self._ends_at = self._seen_at + total_s

    def touch(self, ahead_s: float = 0) -> None:
        """Note a sign of life; the turn may be silent for `ahead_s` more seconds before its silence is counted."""
        self._seen_at = self._now() + ahead_s

    def verdict(self) -> TertuliaError | None:
        """Judge the turn. Return the error that it has to end with, or None while there is patience left."""
        now = self._now()
        if now >= self._ends_at:
            return TurnTooLong(f"The turn took longer than {self._total_s:g} seconds.")
        if now - self._seen_at > self._silence_s:
            return ModelTimeout(f"nothing for {self._silence_s:g} s")
        return None
