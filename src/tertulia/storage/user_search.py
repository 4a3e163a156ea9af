"""The search for users by a part of their names or email: a range of an index, however many users there are.

Each place of the text that is searched has an entry, which begins there. A text that is contained in it begins one of
them, so that those who contain it are neighbours.
"""

from collections.abc import Iterator, Sequence

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from tertulia.storage.database.shapes import among
from tertulia.storage.tables import user_search

PART = 16
"""Characters of an entry. A longer text is looked for by its beginning or its end, whichever fewer entries have."""

PORTION = 128
"""Entries that are read at once."""

_LAST = "\U0010ffff"
_BEFORE_SURROGATES, _BEHIND_SURROGATES = "\ud7ff", "\ue000"
_RARE = 1000
"""Entries beyond which it does not matter how many there are."""

_part, _user_id = user_search.c.part, user_search.c.user_id
_RANGE = sa.and_(user_search.c.org_id == bindparam("org_id"), _part >= bindparam("least"), _part < bindparam("end"))
_PORTION = (
    sa.select(_part, _user_id)
    .where(_RANGE, sa.tuple_(_part, _user_id) > sa.tuple_(bindparam("part"), bindparam("user_id")))
    .order_by(_part, _user_id)
    .limit(PORTION)
)
_COUNT = sa.select(sa.func.count()).select_from(sa.select(_user_id).where(_RANGE).limit(_RARE).subquery())


def add_entries(connection: Connection, org_id: str, user_id: str, text: str) -> None:
    """Have a user be found by whatever a text contains."""
    rows = [{"org_id": org_id, "part": part, "user_id": user_id} for part in parts(text)]
    if rows:
        connection.execute(sa.insert(user_search), rows)


def remove_entries(connection: Connection, org_id: str, user_id: str, text: str) -> None:
    """Have a user not be found any more by a text that was added."""
    theirs = user_search.c.org_id == org_id, user_search.c.user_id == user_id
    connection.execute(sa.delete(user_search).where(*theirs, among(_part, parts(text))))


def parts(text: str) -> list[str]:
    """List what begins at the places of a text, as far as entries have it. Return each once; none begins by a space."""
    return sorted({text[place : place + PART] for place in range(len(text)) if text[place] != " "})


def find_user_ids(connection: Connection, org_id: str, text: str) -> Iterator[Sequence[str]]:
    """Look for users by a text that theirs may contain, in portions. Return their identifiers, those of each once.

    The text is not empty and begins by no space. What has more characters than an entry may not be contained after all.
    """
    ranges = [{"org_id": org_id, **_range_of(part)} for part in {text[:PART], text[-PART:].lstrip()}]
    if len(ranges) > 1:
        ranges.sort(key=lambda found: connection.execute(_COUNT, found).scalar_one())
    chosen, part, user_id = ranges[0], ranges[0]["least"], ""
    known: set[str] = set()
    while True:
        rows = connection.execute(_PORTION, {**chosen, "part": part, "user_id": user_id}).all()
        new = list(dict.fromkeys(row.user_id for row in rows if row.user_id not in known))
        known.update(new)
        if new:
            yield new
        if len(rows) < PORTION:
            return
        part, user_id = rows[-1]
        chosen = {**chosen, "least": part}


def _range_of(part: str) -> dict[str, str]:
    """Work out the range of entries that begin by a text. Return its first value, and the first one behind it."""
    begun = part.rstrip(_LAST)
    if not begun:
        return {"least": part, "end": part + _LAST * PART}
    following = _BEHIND_SURROGATES if begun[-1] == _BEFORE_SURROGATES else chr(ord(begun[-1]) + 1)
    return {"least": part, "end": begun[:-1] + following}
