"""Users in the order of their statistics: exact at each moment, however far the indexes are behind."""

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection, Engine

from support.many_users import fill, user_of
from tertulia.storage import tables, user_statistics
from tertulia.storage import user as users
from tertulia.storage.database import dialect
from tertulia.storage.database.paging import SortKey, Window
from tertulia.storage.user import UserFilter
from tertulia.storage.user_statistics import catch_up, find_behind

pytestmark = pytest.mark.both_databases

USERS = 12
FIELDS = ("num_conversations", "num_messages", "last_message_time")
numbers = count()


@pytest.fixture(scope="module")
def engine(database_url: str) -> Engine:
    return dialect.create_engine(database_url, 1)


def speak(connection: Connection, org_id: str, number: int) -> None:
    """Count a message of a user, as a turn does."""
    user_id, turn = user_of(org_id, number), next(numbers)
    row = connection.execute(sa.select(tables.messages).where(tables.messages.c.id.like(f"%-{user_id}")).limit(1))
    message: dict[str, Any] = dict(row.mappings().one())
    at = message["created_at"].replace(microsecond=0, year=2027, second=turn % 60, minute=turn // 60 % 60)
    connection.execute(sa.insert(tables.messages), {**message, "id": f"p{turn:06}-{user_id}", "created_at": at})
    counted = {"num_messages": tables.users.c.num_messages + 2, "last_message_time": at}
    connection.execute(sa.update(tables.users).where(tables.users.c.id == user_id).values(counted))


def delete(connection: Connection, org_id: str, number: int) -> None:
    """Remove a user from where lists look."""
    user_statistics.remove_statistics(connection, user_of(org_id, number))
    connection.execute(sa.delete(tables.users).where(tables.users.c.id == user_of(org_id, number)))


def read_up(connection: Connection, _org_id: str, _number: int) -> None:
    behind = find_behind(connection)
    if behind.user_ids:
        assert catch_up(connection, behind)
        assert not catch_up(connection, behind)  # as another process would


ACTS: tuple[Callable[[Connection, str, int], None], ...] = (speak, delete, read_up)


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.sampled_from(ACTS), st.integers(0, USERS - 1)), max_size=12),
    st.lists(st.tuples(st.sampled_from(FIELDS), st.booleans()), min_size=1, max_size=2, unique_by=lambda key: key[0]),
    st.integers(0, USERS),
    st.integers(1, 5),
)
def test_a_page_is_that_of_all_users_sorted(
    engine: Engine,
    acts: list[tuple[Callable[[Connection, str, int], None], int]],
    keys: list[tuple[str, bool]],
    offset: int,
    limit: int,
) -> None:
    org_id, gone = f"org{next(numbers):06}", set[int]()
    sort = [SortKey(f"user_stats.{field}", descending) for field, descending in keys]

    def page(connection: Connection) -> list[str]:
        found = users.list_users(connection, org_id, sa.true(), UserFilter(), sort, Window(limit, offset))
        return [user.id for user in found.items]

    with engine.connect() as connection, pytest.MonkeyPatch.context() as patch:
        patch.setattr(user_statistics, "settled_until", lambda _connection: f"p{next(numbers):06}")
        patch.setattr(user_statistics, "PORTION", 7)
        connection.execute(sa.update(tables.statistics_progress).values(read_to="0"))
        fill(connection, org_id, USERS)
        for act, number in acts:
            if number not in gone:
                act(connection, org_id, number)
            gone |= {number} if act is delete else set()
        by_index = page(connection)
        patch.setattr(user_statistics, "MOST_RECENT", 0)  # no index is used

        assert by_index == page(connection)
        connection.rollback()
