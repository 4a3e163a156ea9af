"""Pages of a list, bounded in rows and in text."""

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia.storage.database import paging
from tertulia.storage.database.paging import Page, Window, fetch_page
from tertulia.storage.database.units import Database


def page(connection: Connection, window: Window) -> Page[str]:
    """Three texts of a thousand characters each."""
    texts = sa.union_all(*(sa.select(sa.literal(letter * 1000).label("text")) for letter in "abc")).subquery()
    query = sa.select(texts.c.text).order_by(texts.c.text)
    return fetch_page(connection, query, window, lambda text: text[:1])


@pytest.mark.parametrize(
    ("window", "items", "token"),
    [
        (Window(5), ["a", "b", "c"], None),
        (Window(3), ["a", "b", "c"], None),
        (Window(2), ["a", "b"], 2),
        (Window(2, 2), ["c"], None),
        (Window(0), [], 0),
        (Window(5, 3), [], None),
    ],
)
async def test_a_page_has_so_many_rows_and_says_where_the_next_begins(
    database: Database, window: Window, items: list[str], token: int | None
) -> None:
    found = await database.read(page, window)
    assert (list(found.items), found.has_more, found.continuation_token) == (items, token is not None, token)


async def test_a_page_of_long_texts_has_fewer_rows_and_none_is_lost(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "PAGE_CHARACTERS", 500)
    seen, token = list[str](), 0
    while token is not None:
        found = await database.read(page, Window(3, token))
        assert len(found.items) == 1
        seen += found.items
        token = found.continuation_token
    assert seen == ["a", "b", "c"]


async def test_the_texts_within_documents_count(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "PAGE_CHARACTERS", 500)
    documents = [{"states": [{"name": letter * 400}, {letter * 200: None}]} for letter in "abc"]

    def fetch(connection: Connection) -> Page[object]:
        texts = sa.union_all(*(sa.select(sa.literal(one, sa.JSON).label("document")) for one in documents)).subquery()
        return fetch_page(connection, sa.select(texts.c.document), Window(3), lambda document: document)

    found = await database.read(fetch)

    assert (list(found.items), found.has_more) == (documents[:1], True)
