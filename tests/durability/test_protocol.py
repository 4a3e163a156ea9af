"""The protocol of a turn, as a model that hypothesis drives against the real storage, with two workers.

A step is one unit in a transaction of its own: claim, settle, abandon, renew, finish, sweep, look up; time stands still
but where a step moves it. After each step every row that the units keep is compared with the model.
`DURABILITY_EXAMPLES` makes it look longer.
"""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test
from sqlalchemy.engine import Connection

from durability.world import LEASE, REPLAY, START, World, opened
from tertulia import clock
from tertulia.background.sweeper import sweep_unit
from tertulia.errors import BadRequest, Conflict, Gone, NotFound, TertuliaError, Unprocessable
from tertulia.ids import new_id
from tertulia.storage import tables
from tertulia.storage.conversation import get_conversation
from tertulia.storage.organization import DEFAULT_PREFERENCES
from tertulia.storage.turn import claim as claims
from tertulia.storage.turn import finish, settle, stream, sweep
from tertulia.storage.turn.history import HistoryBounds
from tertulia.storage.turn.idempotency import EarlierTurn, IdempotencyTicket, begin_once
from tertulia.storage.turn.outline import Outline
from tertulia.storage.turn.stream import RecordedStream, RunningElsewhere
from tertulia.storage.turn.values import Claim, Lease, Message, Opening, Settlement
from tertulia.storage.user import NewUser, insert_user

pytestmark = pytest.mark.both_databases

EXAMPLES = int(os.environ.get("DURABILITY_EXAMPLES", "40"))
STEPS = 40
PHASES = [phase for phase in Phase if phase is not Phase.explain]


@dataclass(eq=False)
class ModelConversation:
    id: str
    holder: "ModelTurn | None" = None
    settled: int = 0
    messages: int = 0
    finished: bool = False
    exists: bool = True


@dataclass(eq=False)
class ModelTurn:
    """`holds` ends when the turn is settled, abandoned, swept, or its conversation is taken by another."""

    worker: int
    conversation: ModelConversation
    claim: Claim
    lease_ends: datetime
    settlement: Settlement | None = None
    recorded: bool = False

    @property
    def holds(self) -> bool:
        return self.conversation.holder is self


@dataclass
class ModelKey:
    turn: ModelTurn
    body: str
    expires_at: datetime


@dataclass
class Model:
    conversations: list[ModelConversation] = field(default_factory=list)
    turns: list[ModelTurn] = field(default_factory=list)
    keys: dict[str, ModelKey] = field(default_factory=dict)

    def void(self, held: ModelConversation) -> None:
        """The turn that holds a conversation has never been; nor has the conversation, if it was its first."""
        self.keys = {name: key for name, key in self.keys.items() if key.turn is not held.holder}
        held.holder = None
        if not held.settled:
            held.exists = False


HEALTH = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large, HealthCheck.large_base_example]


class Protocol(RuleBasedStateMachine):
    turns: Bundle[ModelTurn] = Bundle("turns")
    worker = st.integers(0, 1)
    key = st.sampled_from([None, "one", "two"])
    body = st.sampled_from(["same", "other"])

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.model = Model()
        self.owners = (new_id(), new_id())
        world.now = START
        new = NewUser(world.role_id, "Test", "Person", f"{secrets.token_hex(8)}@example.com", DEFAULT_PREFERENCES)
        self.user_id = world.run(0, insert_user, world.org_id, new)

    def teardown(self) -> None:
        self.world.run(0, _forget, self.world.org_id)

    # --- What workers do ---------------------------------------------------------------------------------------------

    @rule(target=turns, worker=worker, key=key, body=body)
    def create(self, worker: int, key: str | None, body: str) -> Any:
        opening = Opening(self.world.org_id, self.user_id, self.world.service_id, "release", {}, False)
        expected: Any = self._expect_key(key, body)
        unfinished = [one for one in self.model.conversations if one.exists and not one.finished]
        if expected is None and unfinished:
            expected = Conflict if self._is_live(unfinished[0]) else BadRequest if unfinished[0].settled else None
        claimed = self._claim(worker, key, body, expected, lambda one, lease: claims.claim_new(one, opening, lease))
        if claimed is None:
            return multiple()
        for dead in unfinished:
            self.model.void(dead)
        self.model.conversations.append(ModelConversation(opening.conversation_id))
        return self._begin(worker, key, body, claimed, self.model.conversations[-1])

    @rule(target=turns, earlier=turns, worker=worker, key=key, body=body)
    def go_on(self, earlier: ModelTurn, worker: int, key: str | None, body: str) -> Any:
        there = earlier.conversation

        def claim(connection: Connection, lease: Lease) -> Claim:
            return claims.claim_existing(
                connection, get_conversation(connection, self.world.org_id, there.id), lease, HistoryBounds(10, 10_000)
            )

        expected: Any = self._expect_key(key, body)
        if expected is None and not there.exists:
            expected = NotFound
        elif expected is None and (there.finished or self._is_live(there)):
            expected = Conflict
        elif expected is None and not there.settled:
            expected = NotFound
        claimed = self._claim(worker, key, body, expected, claim)
        if claimed is None:
            return multiple()
        if there.holder is not None:
            self.model.void(there)
        return self._begin(worker, key, body, claimed, there)

    @rule(mine=turns, finished=st.booleans())
    def settle(self, mine: ModelTurn, finished: bool) -> None:
        """Whoever has lost the conversation, by whatever way, cannot commit to it."""
        made = self._settlement(mine, finished)
        if not mine.holds:
            self._refused(Conflict, mine.worker, settle.settle, mine.claim, made)
            return
        self.world.run(mine.worker, settle.settle, mine.claim, made)
        there = mine.conversation
        there.holder, there.finished = None, finished
        there.settled += 1
        there.messages += 2
        mine.settlement, mine.recorded = made, True

    @rule(mine=turns)
    def abandon(self, mine: ModelTurn) -> None:
        self.world.run(mine.worker, settle.abandon, mine.claim)
        if mine.holds:
            self.model.void(mine.conversation)

    @rule(worker=worker)
    def renew(self, worker: int) -> None:
        until = self.world.now + LEASE
        self.world.run(worker, sweep.renew, self.owners[worker], until)
        for mine in self.model.turns:
            if mine.holds and mine.worker == worker:
                mine.lease_ends = until

    @rule(worker=worker)
    def sweep(self, worker: int) -> None:
        self.world.run(worker, sweep_unit, LEASE)
        for there in self.model.conversations:
            if there.holder is not None and not self._is_live(there):
                self.model.void(there)
        now = self.world.now
        self.model.keys = {name: key for name, key in self.model.keys.items() if key.expires_at > now}

    @rule(worker=worker)
    def purge(self, worker: int) -> None:
        now = self.world.now
        while self.world.run(worker, stream.purge_streams, now):
            pass
        for one in self.model.turns:
            one.recorded = one.recorded and _kept(one) > now

    # --- What users do -----------------------------------------------------------------------------------------------

    @rule(earlier=turns, worker=worker)
    def finish(self, earlier: ModelTurn, worker: int) -> None:
        there = earlier.conversation
        asked = (worker, _finish, self.world.org_id, there.id)
        if not there.exists:
            self._refused(NotFound, *asked)
        elif there.finished or self._is_live(there):
            self._refused(Conflict, *asked)
        else:
            self.world.run(*asked)
            self.model.void(there)
            there.finished = True

    @rule(some=turns, worker=worker)
    def look_up(self, some: ModelTurn, worker: int) -> None:
        asked = (worker, stream.find_stream, some.conversation.id, some.claim.interaction_id)
        if some.settlement is not None:
            if _kept(some) > self.world.now:
                assert self.world.run(*asked) == RecordedStream(Outline(_body(some.claim)))
            else:
                self._refused(Gone, *asked)
        elif some.holds and self._is_live(some.conversation):
            assert self.world.run(*asked) == RunningElsewhere(self.owners[some.worker])
        else:
            self._refused(NotFound, *asked)

    @rule(passed=st.sampled_from([timedelta(seconds=1), LEASE / 2, LEASE, REPLAY]))
    def time_passes(self, passed: timedelta) -> None:
        self.world.now += passed

    # --- What must hold ----------------------------------------------------------------------------------------------

    @invariant()
    def what_is_stored_is_what_the_model_says(self) -> None:
        stored = self.world.run(0, _stored, self.world.org_id, self.user_id)
        there = [one for one in self.model.conversations if one.exists]
        settled = [one for one in self.model.turns if one.settlement is not None]
        assert stored["conversations"] == {
            one.id: (
                one.settled,
                one.messages,
                one.finished,
                one.holder and self.owners[one.holder.worker],
                one.holder and one.holder.claim.interaction_id,
                one.holder and one.holder.lease_ends,
            )
            for one in there
        }
        assert stored["interactions"] == {one.claim.interaction_id: one.claim.num_interactions + 1 for one in settled}
        assert stored["messages"] == {
            message.id: one.claim.interaction_id
            for one in settled
            if one.settlement
            for message in one.settlement.messages
        }
        assert stored["streams"] == {one.claim.interaction_id for one in settled if one.recorded}
        assert stored["keys"] == {name: key.turn.claim.interaction_id for name, key in self.model.keys.items()}
        assert stored["user"] == (sum(one.settled > 0 for one in there), sum(one.messages for one in there))

    @invariant()
    def a_user_has_one_unfinished_conversation(self) -> None:
        assert sum(one.exists and not one.finished for one in self.model.conversations) <= 1

    @invariant()
    def a_key_belongs_to_a_turn_that_holds_or_is_settled(self) -> None:
        assert all(key.turn.holds or key.turn.settlement is not None for key in self.model.keys.values())

    # --- The model's side of a claim ---------------------------------------------------------------------------------

    def _is_live(self, there: ModelConversation) -> bool:
        return there.holder is not None and there.holder.lease_ends > self.world.now

    def _expect_key(self, name: str | None, body: str) -> Any:
        """None where the key is free, or there is none: the turn that it has begun, or the refusal."""
        key = self.model.keys.get(name or "")
        if key is None:
            return None
        if key.turn.settlement is None and not self._is_live(key.turn.conversation):
            return None
        if key.turn.settlement is not None and key.expires_at <= self.world.now:
            return None
        if key.body != body:
            return Unprocessable
        return EarlierTurn(key.turn.conversation.id, key.turn.claim.interaction_id)

    def _claim(
        self,
        worker: int,
        key: str | None,
        body: str,
        expected: Any,
        claim: Callable[[Connection, Lease], Claim],
    ) -> Claim | None:
        """Begin a turn. Return its claim, or None if it is refused or finds an earlier turn, as the model says."""
        lease = Lease(self.owners[worker], new_id(), self.world.now + LEASE)
        ticket = IdempotencyTicket(self.world.org_id, self.user_id, key, body, self.world.now + REPLAY) if key else None

        def redeem(connection: Connection) -> Claim | EarlierTurn:
            return begin_once(connection, ticket, lambda connection: claim(connection, lease))

        if isinstance(expected, type):
            self._refused(expected, worker, redeem)
            return None
        found = self.world.run(worker, redeem)
        if expected is not None:
            assert found == expected
            return None
        assert isinstance(found, Claim)
        return found

    def _begin(self, worker: int, key: str | None, body: str, claimed: Claim, there: ModelConversation) -> ModelTurn:
        tokens = [one.claim.lease_token for one in self.model.turns if one.conversation is there]
        assert claimed.lease_token > max(tokens, default=0)
        assert claimed.num_interactions == there.settled
        assert len(claimed.history) == min(there.messages, 10)
        begun = ModelTurn(worker, there, claimed, self.world.now + LEASE)
        there.holder = begun
        self.model.turns.append(begun)
        if key:
            self.model.keys[key] = ModelKey(begun, body, self.world.now + REPLAY)
        return begun

    def _settlement(self, mine: ModelTurn, finished: bool) -> Settlement:
        said = [
            Message(new_id(), kind, "text", "Somebody", "Words", self._tick())
            for kind in ("user-message", "agent-message")
        ]
        body, until = _body(mine.claim), self.world.now + REPLAY
        return Settlement(self.world.now, said, [["graph", 1, "state"]], {}, finished, body, until)

    def _tick(self) -> datetime:
        self.world.now += clock.MICROSECOND
        return self.world.now

    def _refused(self, error: type[TertuliaError], worker: int, unit: Callable[..., Any], *args: Any) -> None:
        with pytest.raises(error):
            self.world.run(worker, unit, *args)


def _kept(settled: ModelTurn) -> datetime:
    assert settled.settlement is not None
    return settled.settlement.stream_expires_at


def _body(claim: Claim) -> bytes:
    return f"the events of {claim.interaction_id}\n".encode()


def _stored(connection: Connection, org_id: str, user_id: str) -> dict[str, Any]:
    """Every row that a turn can leave."""
    rows: dict[str, Any] = {
        name: connection.execute(sa.select(table).where(table.c.org_id == org_id)).mappings().all()
        for name, table in _TABLES.items()
    }
    counted = sa.select(tables.users.c.num_conversations, tables.users.c.num_messages).where(
        tables.users.c.id == user_id
    )
    return {
        "conversations": {
            row["id"]: (
                row["num_interactions"],
                row["num_messages"],
                row["is_finished"],
                row["lease_owner"],
                row["lease_interaction_id"],
                row["lease_expires_at"],
            )
            for row in rows["conversations"]
        },
        "interactions": {row["id"]: row["number"] for row in rows["interactions"]},
        "messages": {row["id"]: row["interaction_id"] for row in rows["messages"]},
        "streams": {row["interaction_id"] for row in rows["streams"]},
        "keys": {row["key"]: row["interaction_id"] for row in rows["keys"]},
        "user": tuple(connection.execute(counted).one()),
    }


_TABLES = {
    "keys": tables.idempotency_keys,
    "streams": tables.streams,
    "messages": tables.messages,
    "interactions": tables.interactions,
    "conversations": tables.conversations,
}


def _finish(connection: Connection, org_id: str, conversation_id: str) -> None:
    finish.finish(connection, get_conversation(connection, org_id, conversation_id))


def _forget(connection: Connection, org_id: str) -> None:
    for table in _TABLES.values():
        connection.execute(sa.delete(table).where(table.c.org_id == org_id))


def test_the_storage_keeps_the_protocol(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(database_url) as world:
        monkeypatch.setattr(clock, "now", lambda: world.now)

        class Here(Protocol):
            def __init__(self) -> None:
                super().__init__(world)

        run_state_machine_as_test(
            Here,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                database=None,
                suppress_health_check=HEALTH,
                phases=PHASES,
            ),
        )
