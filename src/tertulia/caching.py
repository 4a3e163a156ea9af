"""Results of pure functions, kept for the next call: of texts, within a bound of memory; of values, while they live."""

import weakref
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

WORD = 100
"""Characters of a text that counts as short: a user may send a word of 100,000, and each time another one."""

V = TypeVar("V")
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


def kept_while_alive(function: Callable[[V], T]) -> Callable[[V], T]:
    """Keep the result of a pure function of a value that never changes for as long as that very value lives.

    Return a decorated function. A copy of a value, which may differ from it, has a result of its own.
    """
    kept: dict[int, T] = {}

    @wraps(function)
    def call(value: V) -> T:
        key = id(value)
        if key in kept:
            return kept[key]
        made = kept[key] = function(value)
        weakref.finalize(value, kept.pop, key, None)
        return made

    return call
