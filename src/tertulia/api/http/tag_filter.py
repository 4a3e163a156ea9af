"""Filters of lists by tag: `key:value`, `key:*` for any value, `key:` for null."""

import re
from collections.abc import Sequence

from tertulia.errors import Unprocessable

MOST = 20
"""Filters of one list: a resource has no more tags."""

_KEY = re.compile(r"[\w\s]+")


def parse_tag_filters(filters: Sequence[str], field: str) -> list[tuple[str, str]]:
    """Read filters that came in the query parameter `field`. Return pairs of key and value, split at the first colon.

    Equal filters are one, and those of one kind stand together: each order of kinds is a statement of its own, which
    databases and drivers keep.

    Raises:
        Unprocessable: there is no colon, the key is not of words, or there are too many.
    """
    if len(filters) > MOST:
        raise Unprocessable(f"Filter by at most {MOST} tags: these are {len(filters)}.", ("query", field))
    parsed = {_parse(text, ("query", field, index)): None for index, text in enumerate(filters)}
    return sorted(parsed, key=lambda pair: (pair[1] not in {"", "*"}, pair[1] == "*"))


def _parse(text: str, location: tuple[str | int, ...]) -> tuple[str, str]:
    key, colon, value = text.partition(":")
    if not colon or not _KEY.fullmatch(key):
        raise Unprocessable("Filter by tag with key:value, key:* or key: alone.", location)
    return key, value
