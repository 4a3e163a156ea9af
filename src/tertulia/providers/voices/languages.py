"""Vendors' names of languages that the contract names by ISO 639-3: mostly the codes of ISO 639-1."""

from collections.abc import Set
from functools import cache

from tertulia import languages

_SAME = {"fil": "tgl"}  # Filipino is a standard of Tagalog, and has no code of two letters


def code_of(language: str, known: Set[str]) -> str | None:
    """The code of two letters that is in `known`: the language's own, or that of the language it is a part of."""
    return next((code for code in _codes(language) if code in known), None)


@cache
def _codes(language: str) -> tuple[str, ...]:
    found = languages.find(_SAME.get(language, language))
    whole = found and languages.find(found.whole)
    return tuple(one.short for one in (found, whole) if one is not None and one.short)


def long_code_of(code: str) -> str | None:
    """The code of ISO 639-3 for one of ISO 639-1."""
    found = languages.find_short(code)
    return found and found.code
