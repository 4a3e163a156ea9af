"""Texts that come from outside: models, tools, transcribers."""

import re

_UNSTORED = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """Replace NUL and halves of surrogate pairs, which no database takes, each by U+FFFD. Return the text."""
    return _UNSTORED.sub("\ufffd", text)
