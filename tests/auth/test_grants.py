"""One table of conditions: what is decided for a target, for the rows of a query, and for two roles agrees."""

from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection

from tertulia.auth.grants import (
    SELF_ORG_ID,
    SELF_USER_ID,
    Condition,
    Equals,
    Grant,
    In,
    NotEquals,
    decide,
    decide_many,
    dump,
    outranks,
    parse,
    visible,
)

CALLER = {SELF_ORG_ID: "demo", SELF_USER_ID: "me"}

things = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("org_id", sa.Text),
    sa.Column("user_id", sa.Text),
    sa.Column("shown", sa.Boolean),
)
COLUMNS = {name: things.c[name] for name in ("org_id", "user_id", "shown")}

texts = st.sampled_from(["demo", "me", "other", "1", ""])
rows = st.fixed_dictionaries(
    {"org_id": texts | st.none(), "user_id": texts | st.none(), "shown": st.booleans() | st.none()}
)
values = texts | st.booleans() | st.sampled_from([SELF_ORG_ID, SELF_USER_ID, 0, 1, None])
conditions: st.SearchStrategy[Condition] = (
    st.builds(Equals, values) | st.builds(NotEquals, values) | st.builds(In, st.lists(values, max_size=3).map(tuple))
)
attributes = st.sampled_from([*COLUMNS, "unknown"])
grants = st.builds(
    Grant, st.sampled_from(["Thing:Get", "Thing:Set"]), st.dictionaries(attributes, conditions, max_size=3)
)
wide = st.builds(Grant, st.just("Thing:Get"), st.dictionaries(st.sampled_from([*COLUMNS]), conditions, max_size=1))


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        things.metadata.create_all(connection)
        yield connection


@given(st.lists(rows, max_size=6), st.lists(grants, max_size=4))
@settings(max_examples=300, deadline=None)
def test_a_list_shows_exactly_the_rows_that_one_by_one_are_allowed(
    connection: Connection, stored: list[dict[str, Any]], held: list[Grant]
) -> None:
    connection.execute(sa.delete(things))
    for number, row in enumerate(stored):
        connection.execute(sa.insert(things), {"id": number, **row})

    query = sa.select(things.c.id).where(visible(held, "Thing:Get", COLUMNS, CALLER)).order_by(things.c.id)

    allowed = [number for number, row in enumerate(stored) if decide(held, "Thing:Get", row, CALLER)]
    may_get = decide_many(held, "Thing:Get", CALLER)
    assert connection.execute(query).scalars().all() == allowed
    assert [number for number, row in enumerate(stored) if may_get(row)] == allowed


@given(st.lists(wide, max_size=3), st.lists(wide, min_size=1, max_size=2), st.lists(rows, min_size=8, max_size=8))
@settings(max_examples=300, deadline=None)
def test_a_role_that_outranks_another_may_do_all_that_the_other_may(
    above: list[Grant], below: list[Grant], targets: list[dict[str, Any]]
) -> None:
    callers = [{SELF_ORG_ID: "demo", SELF_USER_ID: user_id} for user_id in ("me", "demo", "other")]
    asked = [(target, caller) for target in targets for caller in callers] if outranks(above, below) else []
    allowed = [one for one in asked if decide(below, "Thing:Get", *one)]
    assert [one for one in allowed if decide(above, "Thing:Get", *one)] == allowed


@given(st.lists(grants, max_size=4))
def test_no_role_outranks_itself(held: list[Grant]) -> None:
    assert not outranks(held, held)


@given(st.lists(grants, max_size=4))
def test_grants_survive_being_stored(held: list[Grant]) -> None:
    assert parse(dump(held)) == tuple(held)


def test_an_unconditional_grant_outranks_one_with_a_condition() -> None:
    assert outranks([Grant("Thing:Get")], [Grant("Thing:Get", {"user_id": Equals(SELF_USER_ID)})])


def test_a_condition_on_an_unknown_attribute_is_never_met() -> None:
    held = [Grant("Thing:Get", {"colour": NotEquals("red")})]

    assert not decide(held, "Thing:Get", {"org_id": "demo"}, CALLER)


def test_true_is_not_one() -> None:
    held = [Grant("Thing:Get", {"shown": Equals(1)})]

    assert not decide(held, "Thing:Get", {"shown": True}, CALLER)


def test_what_a_template_stands_for_is_not_guessed_when_roles_are_compared() -> None:
    mine = [Grant("Thing:Get", {"org_id": Equals(SELF_ORG_ID)})]
    all_but_one = [Grant("Thing:Get", {"org_id": NotEquals("demo")})]

    assert not outranks(all_but_one, mine)
