"""Long texts in stretches that a voice in this process can speak at once.

However long a text is without an end of a sentence: the first sound comes early, no speaker waits long for another, and
whoever stops listening stops the voice soon.
"""

import re
from collections.abc import Iterator

from tertulia.audio.pcm import RATE, SAMPLE_BYTES
from tertulia.providers.base import Sound

LONGEST = 300
"""Characters of a stretch, at most; about twenty seconds of speech."""

SILENCE = Sound(bytes(RATE // 5 * SAMPLE_BYTES))
"""The sound of a text without anything that could be read."""

_CLAUSE_END = re.compile(r".*[.!?;:,…—،؟](?=\s)", re.DOTALL)
_WORD_END = re.compile(r".*\S(?=\s)", re.DOTALL)


def passages(text: str) -> Iterator[tuple[int, str]]:
    """The text in order, each stretch with its place; cut after a clause where there is one, else after a word."""
    at = 0
    while len(text) - at > LONGEST:
        head = text[at : at + LONGEST + 1]
        cut = _CLAUSE_END.match(head) or _WORD_END.match(head)
        end = at + (cut.end() if cut else LONGEST)
        yield at, text[at:end]
        at = end
    if text[at:].strip():
        yield at, text[at:]
