"""Texts that come from outside: models, tools, transcribers."""

import re
import unicodedata

_UNSTORED = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """Replace NUL and halves of surrogate pairs, which no database takes, each by U+FFFD. Return the text."""
    return _UNSTORED.sub("\ufffd", text)


_UNSEEN = frozenset("\u115f\u1160\u2800\u3164\uffa0\ufffd")
"""Letters and symbols that show nothing, and the one that stands in the place of what could not be read."""

_SHOWS_NOTHING = frozenset({"Cc", "Cf", "Cs", "Mc", "Me", "Mn", "Zl", "Zp", "Zs"})
"""Categories of controls, marks and spaces. What is not assigned is none of them: it may be newer than Python."""


def is_blank(text: str) -> bool:
    """Look for a letter, a digit, punctuation or a symbol that can be seen. Return True if there is none.

    Spaces of any width, controls, and signs of direction and of the order of bytes show nothing.
    """
    return all(unicodedata.category(character) in _SHOWS_NOTHING or character in _UNSEEN for character in text)
