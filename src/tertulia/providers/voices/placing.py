"""Words that a vendor tells apart from their text, put back to where they stand in it."""

import math
from collections.abc import Iterator, Sequence

from tertulia.providers.base import Word

_FAR = 80
"""Characters that a word may stand from the last one; further on, it is another word that looks the same."""


class Placing:
    """The words of one text, in order. What stands nowhere, and what has no times, is passed over."""

    def __init__(self, text: str) -> None:
        self._text = text.lower()
        self._plain = len(self._text) == len(text)  # a few letters change their length
        self._at = 0
        self._ms = 0.0

    def place(self, words: Sequence[str], starts: Sequence[float], ends: Sequence[float]) -> Iterator[Word]:
        """The words that come next, with their times in seconds. Times never go back."""
        for word, start, end in zip(words, starts, ends, strict=False):
            bare = word.strip().lower()
            at = self._text.find(bare, self._at, self._at + _FAR + len(bare)) if bare and self._plain else -1
            if at < 0 or not (math.isfinite(start) and math.isfinite(end)):
                continue
            begins_ms = max(self._ms, start * 1000)
            self._ms = max(begins_ms, end * 1000)
            self._at = at + len(bare)
            yield Word(at, self._at, begins_ms, self._ms)
