"""However many filters a list has, few statements are compiled, and databases see few texts."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from tertulia.storage import conversation, message, service, user
from tertulia.storage.database import dialect
from tertulia.storage.database.paging import Window
from tertulia.storage.database.shapes import padded

pytestmark = pytest.mark.both_databases

WINDOW = Window(1)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    made = dialect.create_engine(database_url, 1)
    yield made
    made.dispose()


def list_all(connection: Connection, count: int) -> None:
    """Send every list that narrows by repeated parameters, each with so many of them."""
    ids = [f"{number:024x}" for number in range(count)]
    tags = [(f"key{number}", ("", "*", "text")[number % 3]) for number in range(min(count, 20))]
    everything = sa.true()
    conversation.list_conversations(
        connection, "demo", everything, conversation.ConversationFilter(id=ids, user_id=ids, tag=tags), (), WINDOW
    )
    service.list_services(connection, "demo", everything, service.ServiceFilter(id=ids, tags=tags), (), WINDOW)
    user.list_users(connection, "demo", everything, user.UserFilter(user_id=ids, email=ids), (), WINDOW)
    message.list_messages(connection, ids[0], everything, message.MessageFilter(id=ids, interaction_id=ids), (), WINDOW)


def test_lists_with_1_to_100_filters_make_few_statements(engine: Engine) -> None:
    texts: set[str] = set()

    @event.listens_for(engine, "before_cursor_execute")
    def _note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        texts.add(statement)

    with engine.connect() as connection:
        for count in range(1, 101):
            list_all(connection, count)

    assert len(engine._compiled_cache or ()) <= 4 * 8
    assert len(texts) <= 6 * 11  # the lists of users and of conversations look for emails and tags first


@pytest.mark.parametrize(("count", "length"), [(0, 0), (1, 1), (2, 2), (3, 4), (5, 8), (64, 64), (65, 128), (500, 512)])
def test_values_are_padded_by_the_last_one(count: int, length: int) -> None:
    found = padded(range(count))
    assert list(found) == [*range(count), *[count - 1] * (length - count)]
