"""A guard that keeps a model's instructions out of its reply, for models too small to keep them to themselves.

The instructions are an operator's rules, not the facts that a reply is made of. A reply ends where it begins to repeat
one: eight words in a row of it, or the whole of a shorter one as a sentence of its own. Words are compared without case
and punctuation, so that quotation marks, lists and line breaks hide nothing. An instruction told in other words, or in
another language, is not found.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

LONG = 8
"""Words in a row that a reply does not share with an instruction by chance."""
SHORTEST = 5
"""Words of the shortest instruction that is recognized."""

_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
_WITHIN_A_SENTENCE = re.compile(r"[\w,;]\s*\Z")

Words = tuple[str, ...]


class SecrecyGuard:
    """A filter of a reply on its way: `feed` and `finish` return the text that may be said.

    The last word is held back until it is whole, and words that may begin an instruction until they turn out not to.
    """

    def __init__(self, instructions: Sequence[str]) -> None:
        self.told = False
        """True once the reply began to tell an instruction: from there on nothing of it is said."""
        self._secrets, self._beginnings = _secrets(tuple(instructions))
        self._text = ""
        self._given = 0
        self._read = 0
        self._words: list[tuple[str, int]] = []
        """The words of the text that were read, and where each begins."""

    def feed(self, text: str) -> str:
        """Take more of the reply. Return what of it, and of what was held, may be said by now."""
        self._text += text
        for word in _WORD.finditer(self._text, self._read):
            if word.end() == len(self._text):
                return self._give(word.start())
            self._take(word)
        return self._give(len(self._text))

    def finish(self) -> str:
        """End the reply. Return the rest that may be said."""
        for word in _WORD.finditer(self._text, self._read):
            self._take(word)
        rest = "" if self.told else self._text[self._given :]
        self._given = len(self._text)
        return rest

    def _take(self, word: re.Match[str]) -> None:
        """Read a word. Notes if it ends a part of an instruction."""
        self._read = word.end()
        self._words.append((word[0].casefold(), word.start()))
        self.told = self.told or any(self._is_told(count) for count in range(SHORTEST, LONG + 1))

    def _is_told(self, count: int) -> bool:
        last = self._words[-count:]
        if tuple(word for word, _ in last) not in self._secrets:
            return False
        return count == LONG or _WITHIN_A_SENTENCE.search(self._text, 0, last[0][1]) is None

    def _give(self, end: int) -> str:
        """Give out the text up to `end`, without the words that may begin an instruction. Return it."""
        if self.told:
            return ""
        for count in range(LONG, 0, -1):
            last = self._words[-count:]
            if tuple(word for word, _ in last) in self._beginnings:
                end = last[0][1]
                break
        given, self._given = self._text[self._given : end], max(self._given, end)
        return given


@lru_cache(maxsize=64)
def _secrets(instructions: tuple[str, ...]) -> tuple[frozenset[Words], frozenset[Words]]:
    """Cut instructions into the stretches that are not to be told. Return them, and all their beginnings."""
    secrets: set[Words] = set()
    for text in instructions:
        words = tuple(word.casefold() for word in _WORD.findall(text))
        if len(words) >= SHORTEST:
            secrets |= {words[begin : begin + LONG] for begin in range(max(1, len(words) - LONG + 1))}
    beginnings = {secret[:end] for secret in secrets for end in range(1, len(secret))}
    return frozenset(secrets), frozenset(beginnings)
