"""Texts as numbers by their letters: the pieces of two to four letters that they share, the rarer the weightier.

An embedding model knows what words mean, and is at a loss with words that are spelled wrongly. Most of their pieces are
right all the same, in every language that is written with letters. Needs numpy, as embedding models in this process do.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any
from zlib import crc32

import numpy as np

_BUCKETS = 4096
"""Numbers of a text; pieces that fall together are rare enough."""
_SHORTEST = 2
_LONGEST = 4
_MOST_CHARACTERS = 1000
"""The beginning of a text that is looked at."""

_WORD = re.compile(r"[^\W_]+")

Matrix = Any
"""An array of numpy."""


def rarity(counts: Matrix) -> Matrix:
    """Weigh the pieces of some texts. Return a weight for each, nothing for one that none of them has."""
    spread = (counts > 0).sum(axis=0)
    return np.where(spread > 0, np.log(1 + len(counts) / np.maximum(spread, 1)), 0.0)


def counted(texts: Sequence[str]) -> Matrix:
    """Count the pieces of texts, the second of a kind for less than the first. Return a row for each."""
    counts = np.zeros((len(texts), _BUCKETS))
    for row, text in zip(counts, texts, strict=True):
        for piece in _pieces(text[:_MOST_CHARACTERS].casefold()):
            row[crc32(piece.encode()) % _BUCKETS] += 1
    return np.log1p(counts)


def _pieces(text: str) -> Iterator[str]:
    """Cut the words of a text; a mark at each end tells pieces of beginnings and ends. Yield the pieces."""
    for word in _WORD.findall(text):
        marked = f"<{word}>"
        for length in range(_SHORTEST, _LONGEST + 1):
            for begin in range(len(marked) - length + 1):
                yield marked[begin : begin + length]
