"""The order of users by their statistics: indexes that lag behind users' rows, so that no turn waits for them.

A turn counts in its user's row alone. The identifiers of messages and users begin with their times, and so tell whose
counts may have changed since the indexes were brought up to date: a list takes those users from their rows, all others
from an index, and is exact.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Select, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection

from tertulia.storage.database.dialect import Unindexed
from tertulia.storage.database.shapes import among
from tertulia.storage.message_search import settled_until
from tertulia.storage.tables import conversations, messages, statistics_progress, user_statistics, users

PORTION = 300
"""Messages, and users, that one transaction brings into the indexes at most."""

MOST_RECENT = 20_000
"""If more messages or users than this are newer than the indexes, a list that reads the rows alone is cheaper."""

_READ_TO = sa.select(statistics_progress.c.read_to)
_COUNTED = (user_statistics.c.num_conversations, user_statistics.c.num_messages, user_statistics.c.last_message_time)
_LAST = sa.func.coalesce(users.c.last_message_time, sa.literal(0, sa.BigInteger))


@dataclass(frozen=True, slots=True)
class Behind:
    """The users whom the indexes have to be told of, and the identifiers between which they are found."""

    since: str
    until: str
    user_ids: Sequence[str]


def recent_users(connection: Connection, org_id: str) -> Select[tuple[str]] | None:
    """Look for the users of an organization whose statistics may be newer than the indexes'. Return the query of them.

    None: there are so many that the indexes are of no use.
    """
    since = connection.execute(_READ_TO).scalar_one()
    for table in (messages, users):
        few = sa.select(table.c.id).where(table.c.id > since).limit(MOST_RECENT).subquery()
        if connection.execute(sa.select(sa.func.count()).select_from(few)).scalar_one() == MOST_RECENT:
            return None
    spoken = (
        sa.select(conversations.c.user_id.label("user_id"))
        .join(messages, messages.c.conversation_id == conversations.c.id)
        .where(messages.c.id > since, messages.c.org_id == org_id)
    )
    new = sa.select(users.c.id).where(users.c.id > since, sa.literal(org_id) == Unindexed(users.c.org_id))
    return sa.select(sa.union(spoken, new).subquery().c.user_id)


def find_behind(connection: Connection) -> Behind:
    """Look for a portion of what the indexes have not been told, the oldest first. Return it; none: nobody."""
    since, until = connection.execute(_READ_TO).scalar_one(), settled_until(connection)
    found: list[str] = []
    for table in (messages, users):
        ids = _between(connection, table, since, until)
        if len(ids) == PORTION:
            until = ids[-1]
    spoken = sa.select(conversations.c.user_id).join(messages, messages.c.conversation_id == conversations.c.id)
    for query, key in ((spoken, messages.c.id), (sa.select(users.c.id), users.c.id)):
        found += connection.execute(query.where(key > since, key <= until).distinct()).scalars()
    return Behind(since, until, sorted(set(found)))


def _between(connection: Connection, table: Table, since: str, until: str) -> Sequence[str]:
    query = sa.select(table.c.id).where(table.c.id > since, table.c.id <= until)
    return connection.execute(query.order_by(table.c.id).limit(PORTION)).scalars().all()


def catch_up(connection: Connection, behind: Behind) -> bool:
    """Bring the indexes up to date for a portion. Return False, and do nothing, if another process has done it."""
    here = sa.update(statistics_progress).where(statistics_progress.c.read_to == behind.since)
    if not connection.execute(here.values(read_to=behind.until)).rowcount:
        return False
    if not behind.user_ids:
        return True
    if connection.dialect.name == "postgresql":  # or a user could be deleted behind the back of the statement below
        these = sa.select(users.c.id).where(among(users.c.id, behind.user_ids)).order_by(users.c.id)
        connection.execute(these.with_for_update(read=True, key_share=True)).all()
    columns = (users.c.id, users.c.org_id, users.c.num_conversations, users.c.num_messages, _LAST, users.c.created_at)
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    into = insert(user_statistics).from_select(
        ["user_id", "org_id", *(column.name for column in _COUNTED), "created_at"],
        sa.select(*columns).where(among(users.c.id, behind.user_ids)),
    )
    counted = {column.name: into.excluded[column.name] for column in _COUNTED}
    connection.execute(into.on_conflict_do_update(index_elements=["user_id"], set_=counted))
    return True


def ranked(org_id: str, recent: Select[tuple[str]]) -> ColumnElement[bool]:
    """Return the condition of an organization's rows that are up to date."""
    return sa.and_(user_statistics.c.org_id == org_id, user_statistics.c.user_id.not_in(recent))


def remove_statistics(connection: Connection, user_id: str) -> None:
    """Remove a user from the indexes."""
    connection.execute(sa.delete(user_statistics).where(user_statistics.c.user_id == user_id))
