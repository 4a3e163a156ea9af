"""The languages of ISO 639-3, retired ones too: they are still in use, and the contract lists some.

`make languages` writes `languages.tsv` beside this file, from a package that takes half a second to import.
"""

from functools import cache
from pathlib import Path
from typing import NamedTuple

ENGLISH = "eng"


class Language(NamedTuple):
    """A language. `short` is its code of ISO 639-1, `whole` the code of the language it belongs to; both may be ""."""

    code: str
    short: str
    whole: str
    name: str


def is_code(code: str) -> bool:
    """Tell if a text is a code of ISO 639-3, e.g. `eng`."""
    return code in _lines()


@cache
def find(code: str) -> Language | None:
    """Find a language by its code of ISO 639-3. Returns None if there is none."""
    line = _lines().get(code)
    return None if line is None else Language(*line.split("\t"))


def find_short(short: str) -> Language | None:
    """Find a language by its code of ISO 639-1, e.g. `en`. Returns None if there is none."""
    return _by_short().get(short)


def with_short_code() -> frozenset[str]:
    """Name the languages that have a code of ISO 639-1. Returns their codes of ISO 639-3."""
    return frozenset(language.code for language in _by_short().values())


@cache
def _lines() -> dict[str, str]:
    lines = Path(__file__).with_suffix(".tsv").read_text("utf-8").splitlines()
    return {line[:3]: line for line in lines}


@cache
def _by_short() -> dict[str, Language]:
    found = (Language(*line.split("\t")) for line in _lines().values() if line[4] != "\t")
    return {language.short: language for language in found}
