"""`current_agent_action_type`: a caller's regular expression over the types of the agent's actions.

RE2 takes time in proportion to the text. Its work on the pattern itself is bounded here: by the pattern's length, by
its classes of Unicode and its counts (`{2,5}`), which are expanded when they are read, and by the size of its program.
Groups capture nothing. The types are ASCII, so that one character is one byte: all other characters of a pattern stand
for one that no type has.
"""

import re2

from tertulia.engine.turns.turn import ActionFilter
from tertulia.errors import Unprocessable
from tertulia.events import FRAGMENT

EVERYTHING = "^.*$"

LONGEST = 2000
"""Characters of a pattern: enough for one that names every type there is."""
EXPANDED = 40
"""Classes of Unicode and counts in a pattern."""
PROGRAM = 2500
"""Instructions of a pattern's program."""
MEMORY = 1 << 17
"""Bytes for a pattern's program and for running it."""

_PLACE = ("query", "current_agent_action_type")
_ELSEWHERE = "\xff"

_options = re2.Options()
_options.log_errors = False
_options.never_capture = True
_options.max_mem = MEMORY
_options.encoding = re2.Options.Encoding.LATIN1


def action_filter(pattern: str) -> ActionFilter:
    """Make a filter of a pattern. Return it; it lets through the types in which the pattern is found.

    Fragments of the reply double its bytes: they pass a pattern that somebody wrote, and not the one that stands for
    all.

    Raises:
        Unprocessable: the pattern is not a regular expression that RE2 knows, or too large.
    """
    if pattern == EVERYTHING:
        return _everything
    if len(pattern) > LONGEST:
        raise Unprocessable(f"This must have at most {LONGEST} characters.", _PLACE)
    if pattern.lower().count("\\p") + pattern.count("{") > EXPANDED:
        raise Unprocessable(f"This must have at most {EXPANDED} classes of Unicode and counts.", _PLACE)
    return _compiled(pattern)


def _everything(action_type: str) -> bool:
    return action_type != FRAGMENT


def _compiled(pattern: str) -> ActionFilter:
    single_bytes = "".join(character if character.isascii() else _ELSEWHERE for character in pattern)
    try:
        compiled = re2.compile(single_bytes.encode("latin-1"), _options)
    except re2.error:
        raise Unprocessable("This is not a regular expression, or is too large.", _PLACE) from None
    if compiled.programsize > PROGRAM:
        raise Unprocessable("This regular expression is too large.", _PLACE)
    return lambda action_type: compiled.search(action_type.encode()) is not None
