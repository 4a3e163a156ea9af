"""Words that are spelled wrongly, read as the nearest word of a vocabulary, and the more readily the commoner that is.

The vocabulary is what a graph's authors wrote: it is small, and has the words that matter. So there is no dictionary,
and any language that is written with letters is served. A right word that the vocabulary does not have may be misread
too: so the reading is a second opinion, beside what was written.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping

_WORD = re.compile(r"[^\W\d_]+")
_SHORTEST = 2
_LONG = 6
"""Letters of a word that may have two mistakes; a shorter one may have one."""
_OTHER_BEGINNING = 0.5
"""The price of another first letter: few people mistake that one."""
_COMMON = 0.15
"""The worth of a word that is e times as common as another, in mistakes."""
_MOST_WORDS = 20
"""Unknown words of a message that are looked up."""


def words(texts: Iterable[str]) -> Mapping[str, int]:
    """Count the words of texts. Return the vocabulary that they make."""
    return Counter(word for text in texts for word in _WORD.findall(text.casefold()))


def read(text: str, vocabulary: Mapping[str, int]) -> str:
    """Read a text by a vocabulary, words with their counts. Return it with each unknown word as the one it may be."""
    left = _MOST_WORDS

    def corrected(found: re.Match[str]) -> str:
        nonlocal left
        word = found[0].casefold()
        if word in vocabulary or len(word) < _SHORTEST or not left:
            return found[0]
        left -= 1
        return _nearest(word, vocabulary) or found[0]

    return _WORD.sub(corrected, text)


def _nearest(word: str, vocabulary: Mapping[str, int]) -> str | None:
    """Look for the word that is meant by one with a mistake. Return it, None if none is near."""
    most = 2 if len(word) >= _LONG else 1
    best, least = None, math.inf
    for other, count in vocabulary.items():
        if abs(len(other) - len(word)) > most or len(other) < _SHORTEST or (mistakes := _mistakes(word, other)) > most:
            continue
        price = mistakes + _OTHER_BEGINNING * (word[0] != other[0]) - _COMMON * math.log(count)
        if price < least:
            best, least = other, price
    return best


def _mistakes(word: str, other: str) -> int:
    """Count the letters that are wrong, missing, too many, or swapped with their neighbour. Return their number."""
    before: list[int] = []
    row = [*range(len(other) + 1)]
    for i, letter in enumerate(word, 1):
        last, row, older = row, [i], before
        for j, its in enumerate(other, 1):
            row.append(min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (letter != its)))
            if i > 1 and j > 1 and letter == other[j - 2] and word[i - 2] == its:
                row[j] = min(row[j], older[j - 2] + 1)
        before = last
    return row[-1]
