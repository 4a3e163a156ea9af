"""What vendors call a language that the contract names by ISO 639-3: mostly the code of ISO 639-1."""

from collections.abc import Set
from functools import cache

from iso639 import Language, LanguageNotFoundError

_SAME = {"fil": "tgl"}  # Filipino is a standard of Tagalog, and has no code of two letters


def code_of(language: str, known: Set[str]) -> str | None:
    """The code of two letters that is in `known`: the language's own, or that of the language it is a part of."""
    return next((code for code in _codes(language) if code in known), None)


@cache
def _codes(language: str) -> tuple[str, ...]:
    try:
        found = Language.from_part3(_SAME.get(language, language))
        whole = Language.from_part3(found.macrolanguage) if found.macrolanguage else None
    except LanguageNotFoundError:
        return ()
    return tuple(one.part1 for one in (found, whole) if one is not None and one.part1)


def long_code_of(code: str) -> str | None:
    """The code of ISO 639-3 for one of ISO 639-1."""
    try:
        return Language.from_part1(code).part3
    except LanguageNotFoundError:
        return None
