"""Filters of lists by tag: `key:value`, `key:*` for any value, `key:` for null."""

import re
from collections.abc import Sequence

from tertulia.errors import Unprocessable

_KEY = re.compile(r"[\w\s]+")


def parse_tag_filters(filters: Sequence[str], field: str) -> list[tuple[str, str]]:
    """Split filters at the first colon. Return pairs of key and value; `field` is their query parameter.

    Raises:
        Unprocessable: there is no colon, or the key is not of words.
    """
    return [_parse(text, ("query", field, index)) for index, text in enumerate(filters)]


def _parse(text: str, location: tuple[str | int, ...]) -> tuple[str, str]:
    key, colon, value = text.partition(":")
    if not colon or not _KEY.fullmatch(key):
        raise Unprocessable("Filter by tag with key:value, key:* or key: alone.", location)
    return key, value
