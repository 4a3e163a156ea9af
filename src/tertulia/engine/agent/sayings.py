"""Words in the texts of a graph, for models that follow examples better than descriptions.

Sayings are what people say who mean an action or an exit. They stand at the end:
`The person says goodbye. People say: "So long!", "I have to go".`

An opening is how the reply of an action begins: `Introduce yourself. Begin with: "I am a small program".`

Quotation marks may be curly.
"""

import re
from functools import lru_cache

BEGIN = "People say:"

_SAYINGS = re.compile(r"""\s*["\u201c][^"\u201d\n]+["\u201d](?:,\s*["\u201c][^"\u201d\n]+["\u201d])*\.?\s*""")
_OPENING = re.compile(r'Begin with:\s*["\u201c]([^"\u201d\n]+)["\u201d]')
_SAYING = re.compile(r'["\u201c]([^"\u201d\n]+)["\u201d]')


@lru_cache(maxsize=1024)
def split(text: str) -> tuple[str, tuple[str, ...]]:
    """Split the text of an action or an exit. Return it without its sayings, and the sayings."""
    before, found, said = text.rpartition(BEGIN)
    if not found or not _SAYINGS.fullmatch(said):
        return text, ()
    return before.rstrip(), tuple(_SAYING.findall(said))


def without(text: str) -> str:
    """Leave the sayings out. Return the text of an action as its reply is asked for."""
    return split(text)[0]


@lru_cache(maxsize=1024)
def opening(text: str) -> str:
    """Look for the words with which a reply is to begin. Return them, nothing if there are none."""
    found = _OPENING.search(text)
    return found[1].strip() if found else ""
