"""Text that arrives in pieces, broken into lines between words."""

import re
from collections.abc import Callable

from rich.cells import cell_len

_PARTS = re.compile(r"\n|[^\S\n]+|[^\s\u2e80-\ua4cf\uf900-\ufaff\uff00-\uffef]+|\S")
"""A line's end, a gap, a word, or a character of a writing that has no gaps (Chinese, Japanese)."""

_HUGS = "\u3001\u3002\u300d\u300f\uff01\uff0c\uff0e\uff1a\uff1b\uff1f\uff09"
"""Marks that stand at no line's beginning."""


class Wrapping:
    """A writer of words to a terminal of `width` columns. A word is written once it is known to be whole."""

    def __init__(self, write: Callable[[str], None], width: int, column: int = 0) -> None:
        self._write = write
        self._width = width
        self._column = column
        self._gap = ""
        self._word = ""

    def feed(self, text: str) -> None:
        """Take a piece of the text; write what is certain of it."""
        text, self._word = self._word + text, ""
        for part in _PARTS.findall(text):
            self._write_word()
            if part == "\n":
                self._gap, self._column = "", 0
                self._write("\n")
            elif part.isspace():
                self._gap += part
            else:
                self._word = part

    def finish(self) -> None:
        """Write what was held back."""
        self._write_word()
        self._gap = ""

    def _write_word(self) -> None:
        word, self._word = self._word, ""
        if not word:
            return
        size = cell_len(self._gap + word)
        if self._column and self._column + size > self._width and word not in _HUGS:
            self._write("\n")
            self._gap, self._column, size = "", 0, cell_len(word)
        self._write(self._gap + word)
        self._gap = ""
        self._column = (
            self._column + size if self._column + size <= self._width else (self._column + size) % self._width
        )
