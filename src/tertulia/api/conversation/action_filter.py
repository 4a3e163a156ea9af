"""`current_agent_action_type`: a caller's regular expression over the types of the agent's actions.

It is run by RE2, whose time is linear in the text, so that no pattern can hang the server.
"""

from functools import lru_cache

import re2

from tertulia.engine.turns.turn import ActionFilter
from tertulia.errors import Unprocessable

EVERYTHING = "^.*$"

_options = re2.Options()
_options.log_errors = False
_options.max_mem = 1 << 20


def action_filter(pattern: str) -> ActionFilter:
    """A filter that lets through the types in which the pattern is found.

    Raises:
        Unprocessable: the pattern is not a regular expression, or not one that RE2 knows.
    """
    if pattern == EVERYTHING:
        return _everything
    return _compiled(pattern)


def _everything(_action_type: str) -> bool:
    return True


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> ActionFilter:
    try:
        search = re2.compile(pattern, _options).search
    except re2.error:
        raise Unprocessable("This is not a regular expression.", ("query", "current_agent_action_type")) from None
    return lambda action_type: search(action_type) is not None
