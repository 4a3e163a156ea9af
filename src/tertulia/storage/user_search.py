"""The search for users by a part of their names or email: a range of an index, however many users there are.

Each place of the text that is searched has an entry, which begins there. A text that is contained in it begins one of
them, so that those who contain it are neighbours.
"""

from collections.abc import Iterator, Mapping, Sequence

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
_ENTRIES = sa.select(_part, _user_id).order_by(_part, _user_id).limit(PORTION)
_PORTION = _ENTRIES.where(_RANGE)
_SAME_PART = _ENTRIES.where(
    user_search.c.org_id == bindparam("org_id"), _part == bindparam("part"), _user_id > bindparam("user_id")
)
"""The entries of one text behind a user: many have the same one, such as the end of an email."""
_BEHIND_PART = _ENTRIES.where(
    user_search.c.org_id == bindparam("org_id"), _part > bindparam("part"), _part < bindparam("end")
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
    known: set[str] = set()
    for portion in _portions(connection, ranges[0]):
        new = list(dict.fromkeys(user_id for user_id in portion if user_id not in known))
        known.update(new)
        if new:
            yield new


def _portions(connection: Connection, chosen: Mapping[str, str]) -> Iterator[Sequence[str]]:
    """Read a range of entries in order, each portion from where the last one ended. Yield the users' identifiers."""
    query, values = _PORTION, {**chosen}
    while True:
        rows = connection.execute(query, values).all()
        yield [row.user_id for row in rows]
        if len(rows) == PORTION:
            query, values = _SAME_PART, {**chosen, "part": rows[-1].part, "user_id": rows[-1].user_id}
        elif query is _SAME_PART:
            query = _BEHIND_PART
        else:
            return


def _range_of(part: str) -> dict[str, str]:
    """Work out the range of entries that begin by a text. Return its first value, and the first one behind it."""
    begun = part.rstrip(_LAST)
    if not begun:
        return {"least": part, "end": part + _LAST * PART}
    following = _BEHIND_SURROGATES if begun[-1] == _BEFORE_SURROGATES else chr(ord(begun[-1]) + 1)
    return {"least": part, "end": begun[:-1] + following}
