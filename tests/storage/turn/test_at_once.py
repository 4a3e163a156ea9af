"""Claims and ends of turns that one statement of PostgreSQL makes are those that the units make, or nothing."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import pytest
import sqlalchemy as sa
from msgspec import structs
from sqlalchemy.engine import Connection

from durability.world import LEASE, REPLAY, START
from support.postgres import Postgres
from tertulia import clock
from tertulia.auth import roles
from tertulia.auth.actor import Actor, StaleActor, confirm_actor
from tertulia.demo import organization as demo
from tertulia.ids import new_id
from tertulia.storage.database.shortcut import Shortcut, Step
from tertulia.storage.database.units import Database, open_database
from tertulia.storage.organization import DEFAULT_PREFERENCES
from tertulia.storage.tables import (
    api_keys,
    conversations,
    interactions,
    messages,
    metadata,
    organization_usage,
    services,
    streams,
    traces,
    users,
)
from tertulia.storage.turn.at_once import claim_at_once, is_plain, settle_at_once
from tertulia.storage.turn.claim import claim_new
from tertulia.storage.turn.settle import settle
from tertulia.storage.turn.values import Claim, Lease, Message, NewTrace, Opening, Settlement, Standing
from tertulia.storage.user import NewUser, insert_user

pytestmark = pytest.mark.anyio

State = dict[str, list[Any]]


@dataclass(frozen=True)
class Place:
    """An organization with a service and a user in a database of PostgreSQL."""

    database: Database
    org_id: str
    service_id: str
    role_id: str
    user_id: str

    def opening(self, **changes: Any) -> Opening:
        plain = Opening(self.org_id, self.user_id, self.service_id, "release", {"a": "b"}, True, "c" * 24)
        return replace(plain, **changes)

    def claiming(self, opening: Opening, unit: Callable[[Connection], Claim], **other: Any) -> Shortcut[Claim]:
        return claim_at_once(unit, opening, LEASED, replace(Standing(self.role_id), **other))

    def state(self) -> State:
        with self.database.engine.connect() as connection:
            found = {
                table.name: connection.execute(sa.select(table)).mappings().all() for table in metadata.tables.values()
            }
        return {name: sorted((dict(row) for row in rows), key=str) for name, rows in found.items()}

    def change(self, *statements: sa.Executable) -> None:
        with self.database.engine.begin() as connection:
            for statement in statements:
                connection.execute(statement)


OTHERS: dict[str, dict[str, Any]] = {
    "role": {"role_id": "x" * 24},
    "no grants": {"granted_until": START},
    "key": {"key_id": "x" * 24},
    "role of a key": {"key_role_id": "x" * 24},
}
"""Standings that the user does not have: at least one for each field, or a claim might pass by it unseen."""

LEASED = Lease("o" * 24, "i" * 24, START + LEASE)


@pytest.fixture
def place(postgres_server: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(clock, "now", lambda: START)
    url = postgres_server.create()
    database = open_database(url, 4)
    with database.engine.begin() as connection:
        made = demo.bootstrap(connection)
        role_id = roles.insert_builtin(connection, made.organization_id)[roles.USER]
        user_id = _insert_user(connection, made.organization_id, role_id)
    yield Place(database, made.organization_id, made.service_id, role_id, user_id)
    database.close()
    postgres_server.drop(url)


def _insert_user(connection: Connection, org_id: str, role_id: str) -> str:
    new = NewUser(role_id, "Test", "Person", f"{new_id()}@example.com", DEFAULT_PREFERENCES)
    return insert_user(connection, org_id, new)


def refuse(_connection: Connection) -> Any:
    raise AssertionError("the statement has not done it")


def settlement(trace: NewTrace | None) -> Settlement:
    kinds = ("user-message", "agent-inner-thought", "agent-message")
    said = [
        Message(
            f"{number:024}",
            kind,
            "text",
            "Ana 'x' \\",
            f'{{"Words", é, \\ {number}}}',
            START + number * clock.MICROSECOND,
        )
        for number, kind in enumerate(kinds)
    ]
    return Settlement(
        created_at=START,
        messages=said,
        position=[["graph", 1, "state"]],
        insights={"current_graph": ["g" * 24, 1], "text": "é\\"},
        finished=False,
        stream=b"the events of a turn\n",
        stream_expires_at=START + REPLAY,
        behavior=("b" * 24, 2),
        working_memory=["m" * 24],
        performed_queries=["é?"],
        tool_results=[{"output": "1"}],
        pending_calls=[{"arguments": {"a": None}}],
        trace=trace,
    )


def test_all_that_a_turn_may_leave_is_compared_or_left_to_the_unit() -> None:
    made = settlement(NewTrace(b"a trace", 2))
    assert is_plain(made)
    absent = {field.name for field in fields(made) if not getattr(made, field.name)}
    assert absent == {"finished", "recordings", "invocation"}
    something: Any = ["something"]
    assert not any(is_plain(replace(made, **{name: something})) for name in absent)


@pytest.mark.parametrize("trace", [None, NewTrace(b"a trace", 2)])
async def test_the_statements_leave_what_the_units_leave(place: Place, trace: NewTrace | None) -> None:
    opening, made = place.opening(), settlement(trace)
    claim = await place.database.do_lazily(place.claiming(opening, refuse))
    claimed = place.state()
    await place.database.do(settle_at_once(refuse, claim, made))
    settled = place.state()
    place.change(*(sa.delete(table) for table in (traces, streams, messages, interactions, conversations)))
    place.change(
        sa.update(users).values(num_conversations=0, num_messages=0, stored_bytes=0, last_message_time=None),
        sa.update(organization_usage).values(stored_bytes=0),
    )
    assert await place.database.write_lazily(claim_new, opening, LEASED) == claim
    assert place.state() == claimed
    await place.database.write(settle, claim, made)
    assert place.state() == settled
    assert settled["messages"]


async def test_a_caller_is_confirmed_with_all_that_they_stand_for(place: Place) -> None:
    key = {"granted_until": START + LEASE, "key_id": "k" * 24, "key_role_id": place.role_id}
    place.change(
        sa.update(users).values(granted_until=START + LEASE),
        sa.insert(api_keys).values(
            id="k" * 24,
            org_id=place.org_id,
            role_id=place.role_id,
            key_id="k" * 24,
            key_hash="",
            creator_org_id=place.org_id,
            creator_user_id=place.user_id,
            created_at=START,
            updated_at=START,
            expires_at=START + LEASE,
        ),
    )
    claim = await place.database.do_lazily(place.claiming(place.opening(), refuse, **key))
    assert claim.conversation_id == place.opening().conversation_id


async def test_a_user_who_has_finished_a_conversation_returns(place: Place) -> None:
    claim = await place.database.do_lazily(place.claiming(place.opening(), refuse))
    await place.database.do(settle_at_once(refuse, claim, settlement(None)))
    place.change(sa.update(conversations).values(is_finished=True))
    again = await place.database.do_lazily(place.claiming(place.opening(conversation_id="d" * 24), refuse))
    assert (claim.returning, again.returning) == (False, True)


@pytest.mark.parametrize(
    "obstacle",
    [*OTHERS, "granted", "service", "inactive", "version set", "organization", "user", "unfinished", "same id"],
)
async def test_a_claim_with_something_in_its_way_is_left_to_the_unit(place: Place, obstacle: str) -> None:
    first = await place.database.do_lazily(place.claiming(place.opening(), refuse))
    with place.database.engine.begin() as connection:
        other = _insert_user(connection, place.org_id, place.role_id)
    opening = place.opening(user_id=other, conversation_id="d" * 24)
    changed = {
        "service": replace(opening, service_id="x" * 24),
        "version set": replace(opening, version_set_name="nightly"),
        "organization": replace(opening, org_id="nowhere"),
        "user": replace(opening, user_id="x" * 24),
        "unfinished": replace(opening, user_id=first.user_id),
        "same id": replace(opening, conversation_id=first.conversation_id),
    }.get(obstacle, opening)
    if obstacle == "granted":
        place.change(sa.update(users).values(granted_until=START + LEASE))
    if obstacle == "inactive":
        place.change(sa.update(services).values(is_active=False))
    before = place.state()
    left: list[str] = []

    def leave(_connection: Connection) -> Any:
        left.append(obstacle)
        raise LookupError

    with pytest.raises(LookupError):
        await place.database.do_lazily(place.claiming(changed, leave, **OTHERS.get(obstacle, {})))
    assert left == [obstacle]
    assert place.state() == before


async def test_the_unit_and_the_statement_compare_the_same_standing(place: Place) -> None:
    actor = Actor(place.org_id, place.user_id, place.role_id, "User", ())
    assert asdict(actor.standing) == asdict(Standing(place.role_id))
    assert {name for other in OTHERS.values() for name in other} == {field.name for field in fields(Standing)}
    await place.database.read(confirm_actor, actor)
    for other in OTHERS.values():
        with pytest.raises(StaleActor):
            await place.database.read(confirm_actor, replace(actor, **other))


async def test_a_key_is_asked_for_with_the_role_that_it_had(place: Place) -> None:
    with place.database.engine.connect() as connection:
        key = connection.execute(sa.select(api_keys.c.key_id, api_keys.c.role_id)).one()

    def leave(_connection: Connection) -> Any:
        raise LookupError

    claiming = place.claiming(place.opening(), leave, key_id=key.key_id, key_role_id="x" * 24)
    with pytest.raises(LookupError):
        await place.database.do_lazily(claiming)
    claiming = place.claiming(place.opening(), refuse, key_id=key.key_id, key_role_id=key.role_id)
    assert (await place.database.do_lazily(claiming)).conversation_id == "c" * 24


@pytest.mark.parametrize("obstacle", ["lease", "user"])
async def test_an_end_with_something_in_its_way_is_left_to_the_unit(place: Place, obstacle: str) -> None:
    claim = await place.database.do_lazily(place.claiming(place.opening(), refuse))
    lost = {"lease": structs.replace(claim, lease_token=7), "user": structs.replace(claim, user_id="x" * 24)}[obstacle]
    before = place.state()

    def leave(_connection: Connection) -> Any:
        raise LookupError

    with pytest.raises(LookupError):
        await place.database.do(settle_at_once(leave, lost, settlement(NewTrace(b"a trace", 0))))
    assert place.state() == before


async def test_one_that_fails_takes_nobody_along(place: Place) -> None:
    with place.database.engine.begin() as connection:
        people = [_insert_user(connection, place.org_id, place.role_id) for _ in range(6)]
    ids = [f"{number:024}" for number in (1, 2, 2, 3, 4, 5)]  # one of them twice: a statement that fails

    def claim(user_id: str, conversation_id: str) -> Any:
        opening = place.opening(user_id=user_id, conversation_id=conversation_id)
        return place.database.do_lazily(place.claiming(opening, lambda it: claim_new(it, opening, LEASED)))

    results = await asyncio.gather(*map(claim, people, ids), return_exceptions=True)
    assert [isinstance(result, Claim) for result in results].count(False) == 1
    assert len(place.state()["conversations"]) == 5


@pytest.mark.parametrize("words", ["half a pair: \ud800", "NUL: \0"])
async def test_one_that_cannot_be_sent_takes_nobody_along(place: Place, words: str) -> None:
    begins = threading.Event()

    def wait_for_the_others() -> list[Step]:
        assert begins.wait(5)
        raise LookupError

    def leave(_connection: Connection) -> Any:
        raise LookupError

    with place.database.engine.begin() as connection:
        other = _insert_user(connection, place.org_id, place.role_id)
    spoilt = place.opening(user_id=other, conversation_id="d" * 24, version_set_name=words)
    shortcuts = [
        Shortcut(leave, wait_for_the_others, Claim),
        place.claiming(spoilt, leave),
        place.claiming(place.opening(), refuse),
    ]
    doing = [asyncio.create_task(place.database.do_lazily(shortcut)) for shortcut in shortcuts]
    await asyncio.sleep(0)
    begins.set()
    first, second, third = await asyncio.gather(*doing, return_exceptions=True)
    assert isinstance(first, LookupError)
    assert isinstance(second, LookupError)
    assert isinstance(third, Claim)


async def test_a_row_that_is_locked_for_long_holds_nobody_else_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    with place.database.engine.begin() as connection:
        other = _insert_user(connection, place.org_id, place.role_id)
    openings = [place.opening(), place.opening(user_id=other, conversation_id="d" * 24)]
    claims = [await place.database.do_lazily(place.claiming(opening, refuse)) for opening in openings]
    made = settlement(None)
    others = [replace(message, id=f"{9 - number:024}") for number, message in enumerate(made.messages)]
    with place.database.engine.begin() as holder:
        holder.execute(sa.select(users.c.id).where(users.c.id == place.user_id).with_for_update())
        held = asyncio.create_task(
            place.database.do(settle_at_once(lambda it: settle(it, claims[0], made), claims[0], made))
        )
        second = structs.replace(claims[1], interaction_id="j" * 24)
        await place.database.do(settle_at_once(refuse, second, replace(made, messages=others)))
        assert not held.done()
    await asyncio.wait_for(held, 5)
    assert len(place.state()["interactions"]) == 2
