"""Results of functions of texts, kept for the next call, within a bound of memory."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

WORD = 100
"""Characters of a text that counts as short: a user may send a word of 100,000, and each time another one."""

T = TypeVar("T")


def cached_if_short(most: int, longest: int = WORD) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Keep the results of a pure function for `most` texts of up to `longest` characters, those used last.

    Return a decorator.
    """

    def decorate(function: Callable[[str], T]) -> Callable[[str], T]:
        kept = lru_cache(maxsize=most)(function)

        @wraps(function)
        def call(text: str) -> T:
            return kept(text) if len(text) <= longest else function(text)

        return call

    return decorate
