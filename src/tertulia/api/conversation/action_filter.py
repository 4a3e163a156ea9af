"""Filters of the agent's actions: a caller's regular expression over their types (`current_agent_action_type`).

RE2 runs it, whose time is linear in the text, so that no pattern can hang the server; a pattern's own length is bounded
here, and the size of its program by RE2.
"""

import re2

from tertulia.engine.turns.turn import ActionFilter
from tertulia.errors import Unprocessable

EVERYTHING = "^.*$"

LONGEST = 300
"""Characters of a pattern; the longest type of action has some 70, and there are few."""

_options = re2.Options()
_options.log_errors = False
_options.max_mem = 1 << 18


def action_filter(pattern: str) -> ActionFilter:
    """Compile a pattern. Return a filter that lets through the types in which the pattern is found.

    Raises:
        Unprocessable: the pattern is not a regular expression that RE2 knows, or is too large.
    """
    if pattern == EVERYTHING:
        return _everything
    if len(pattern) > LONGEST:
        raise _wrong(f"The pattern is longer than {LONGEST} characters.")
    try:
        search = re2.compile(pattern, _options).search
    except re2.error:
        raise _wrong("This is not a regular expression.") from None
    return lambda action_type: search(action_type) is not None


def _everything(_action_type: str) -> bool:
    return True


def _wrong(text: str) -> Unprocessable:
    return Unprocessable(text, ("query", "current_agent_action_type"))
