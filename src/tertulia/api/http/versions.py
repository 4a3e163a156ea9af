"""Versions on the wire: the answer to a new one, and the query `version` of their lists."""

import re
from datetime import datetime
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel

from tertulia.api.http.types import MAX_INTEGER
from tertulia.errors import Unprocessable
from tertulia.storage.versioned import VersionRange

_RANGE = re.compile(r"(?P<first>[0-9]{1,10})-(?P<last>latest|[0-9]{1,10})|(?P<one>latest|[0-9]{1,10})", re.ASCII)
_TEXT = "Give a version number, `latest`, or a range of the two, like `2-5` or `1-latest`."


class CreatedVersion(BaseModel):
    """A new version of an agent or a context graph."""

    version: int
    created_at: datetime


async def version_range(
    version: Annotated[str | None, Query(description=_TEXT, examples=["1", "latest", "2-5", "1-latest"])] = None,
) -> VersionRange | None:
    """Read the query `version`. Return the range, or None if every version is wanted."""
    if version is None:
        return None
    match = _RANGE.fullmatch(version)
    if match is None:
        raise Unprocessable(_TEXT, ("query", "version"))
    first = _number(match["one"] or match["first"])
    last = _number(match["one"] or match["last"])
    if first is not None and last is not None and first > last:
        raise Unprocessable("The range of versions ends before it begins.", ("query", "version"))
    return VersionRange(first, last)


def _number(text: str) -> int | None:
    if text == "latest":
        return None
    number = int(text)
    if not 1 <= number <= MAX_INTEGER:
        raise Unprocessable("Version numbers begin at 1.", ("query", "version"))
    return number
