"""Words that a vendor tells apart from their text, put back to where they stand in it."""

import unicodedata
from collections.abc import Iterable, Iterator

from tertulia.providers.base import Word

_FAR = 80
"""Characters that a word may stand from the last one; further on, it is another word that looks the same."""

_SLACK_S = 1.0
"""Seconds that a vendor's clock may be ahead of the sound."""

_LONGEST_S = 3600.0


class Placing:
    """The words of one text, in order, of a sound that is at most `longest_s` seconds long.

    A word that stands nowhere, or has no time or an impossible one, is passed over, whatever a vendor sends in place of
    a word or a number.
    """

    def __init__(self, text: str, longest_s: float = _LONGEST_S) -> None:
        self._text = text.lower()
        self._plain = len(self._text) == len(text)  # a few letters change their length
        self._longest_s = longest_s + _SLACK_S
        self._at = 0
        self._ms = 0.0

    def place(self, told: Iterable[tuple[object, object, object]]) -> Iterator[Word]:
        """Place the words that come next, each with its start and end in seconds. Return them; times never go back."""
        for word, start, end in told:
            begins_s, ends_s = self._second(start), self._second(end)
            if not isinstance(word, str) or begins_s is None or ends_s is None:
                continue
            bare = word.strip().lower()
            at = self._find(bare) if bare and self._plain else -1
            if at < 0:
                continue
            begins_ms = max(self._ms, begins_s * 1000)
            self._ms = max(begins_ms, ends_s * 1000)
            self._at = at + len(bare)
            yield Word(at, self._at, begins_ms, self._ms)

    def _find(self, bare: str) -> int:
        """Find the next place of a word. Return it, or -1; its last letter has no more marks there than in the word."""
        at, last = self._at - 1, self._at + _FAR + len(bare)
        while (at := self._text.find(bare, at + 1, last)) >= 0:
            if unicodedata.category(self._text[at + len(bare) :][:1] or " ")[0] != "M":
                return at
        return -1

    def _second(self, value: object) -> float | None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        return float(value) if 0 <= value <= self._longest_s else None
