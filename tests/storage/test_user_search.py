"""The search for users: whoever's names or email contain a text is found, whatever the text is, and nobody else."""

from itertools import count

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Engine

from tertulia.storage import tables, user_search
from tertulia.storage.database import dialect

pytestmark = pytest.mark.both_databases

LETTERS = st.sampled_from("aab% _'\\ \ud7ff\ue000\U0010ffff\U0001f600é")
TEXTS = st.text(LETTERS, max_size=40).map(str.strip)

organizations = count()


@pytest.fixture(scope="module")
def engine(database_url: str) -> Engine:
    return dialect.create_engine(database_url, 1)


@settings(max_examples=60)
@given(st.lists(TEXTS, min_size=1, max_size=6), st.data())
def test_a_text_is_found_by_all_it_contains_and_by_nothing_else(
    engine: Engine, texts: list[str], data: st.DataObject
) -> None:
    org_id = f"org-{next(organizations)}"
    text = data.draw(st.sampled_from(texts))
    begin = data.draw(st.integers(0, len(text)))
    wanted = data.draw(st.one_of(st.just(text[begin : begin + 20].strip()), TEXTS.filter(bool))) or "a"

    with engine.begin() as connection:
        for number, each in enumerate(texts):
            user_search.add_entries(connection, org_id, str(number), each)
        found = [user_id for ids in user_search.find_user_ids(connection, org_id, wanted) for user_id in ids]
        containing = {str(number) for number, each in enumerate(texts) if wanted in each}

        assert len(found) == len(set(found))
        assert containing <= set(found)
        if len(wanted) <= user_search.PART:
            assert containing == set(found)

        for number, each in enumerate(texts):
            user_search.remove_entries(connection, org_id, str(number), each)
        left = sa.select(sa.func.count()).where(tables.user_search.c.org_id == org_id)
        assert connection.execute(left).scalar() == 0


def test_more_than_a_portion_is_found_in_order_and_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_search, "PORTION", 3)
    for name in ("_PORTION", "_SAME_PART", "_BEHIND_PART"):
        monkeypatch.setattr(user_search, name, getattr(user_search, name).limit(3))
    with engine.begin() as connection:
        for number in range(20):
            user_search.add_entries(connection, "portions", f"{number:02}", "aaa" if number % 2 else "aab")
        portions = list(user_search.find_user_ids(connection, "portions", "a"))

    assert sorted(user_id for ids in portions for user_id in ids) == [f"{number:02}" for number in range(20)]
    assert len(portions) > 5
