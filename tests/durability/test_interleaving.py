"""Two units at once on PostgreSQL: the second runs whole before each statement of the first, one after the other.

A unit is a transaction of several statements, each with a view of its own of what others have committed meanwhile.
Where the second has to wait for a lock of the first, it runs after it: then nothing comes between there.
"""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from durability.lives import HALVES
from durability.world import LEASE, REPLAY, START, World, opened
from support.postgres import Postgres
from tertulia import clock
from tertulia.background.sweeper import sweep_unit
from tertulia.errors import BadRequest, Conflict, NotFound, TertuliaError
from tertulia.ids import new_id
from tertulia.storage.conversation import get_conversation
from tertulia.storage.database.shortcut import Shortcut
from tertulia.storage.organization import DEFAULT_PREFERENCES
from tertulia.storage.tables import conversations, interactions
from tertulia.storage.turn import claim as claims
from tertulia.storage.turn import finish, settle, stream, sweep
from tertulia.storage.turn.at_once import claim_at_once, settle_at_once
from tertulia.storage.turn.history import HistoryBounds
from tertulia.storage.turn.idempotency import IdempotencyTicket, begin_once
from tertulia.storage.turn.outline import Outline
from tertulia.storage.turn.stream import RecordedStream, RunningElsewhere
from tertulia.storage.turn.values import Claim, Lease, Message, Opening, Settlement, Standing
from tertulia.storage.user import NewUser, delete_user, insert_user, lock_user

T = TypeVar("T")

BLOCKED_S = 0.1
"""A unit that takes longer waits for the other."""

BODY = b"the events of a turn\n"


class Watched(psycopg.Cursor[Any]):
    """Says when a statement is about to be run."""

    before: ClassVar[list[Callable[[], None]]] = []

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        for call in self.before:
            call()
        return super().execute(*args, **kwargs)


HISTORY = HistoryBounds(10, 10_000)


@dataclass
class Scene:
    """A turn that is running, and what can happen to it."""

    world: World
    claim: Claim
    ticket: IdempotencyTicket
    owner: str

    def settle(self, connection: Connection) -> str:
        settle.settle(connection, self.claim, self._made())
        return "settled"

    def settle_at_once(self, connection: Connection) -> str:
        made = self._made()
        _at_once(connection, settle_at_once(lambda it: settle.settle(it, self.claim, made), self.claim, made))
        return "settled"

    def _made(self) -> Settlement:
        said = [
            Message(new_id(), kind, "text", "Somebody", "Words", self.world.now + number * clock.MICROSECOND)
            for number, kind in enumerate(("user-message", "agent-message"), start=1)
        ]
        position = [["graph", 1, "state"]]
        return Settlement(self.world.now, said, position, {}, False, BODY, self.world.now + REPLAY)

    def abandon(self, connection: Connection) -> str:
        settle.abandon(connection, self.claim)
        return "abandoned"

    def renew(self, connection: Connection) -> str:
        sweep.renew(connection, self.owner, self.world.now + LEASE)
        return "renewed"

    def sweep(self, connection: Connection) -> str:
        sweep_unit(connection, LEASE)
        return "swept"

    def look_up(self, connection: Connection) -> object:
        return stream.find_stream(connection, self.claim.conversation_id, self.claim.interaction_id)

    def take(self, connection: Connection) -> str:
        self._claim(connection)
        return "taken"

    def _claim(self, connection: Connection) -> Claim:
        lease = Lease(new_id(), new_id(), self.world.now + LEASE)
        taken = claims.claim_existing(
            connection, get_conversation(connection, self.world.org_id, self.claim.conversation_id), lease, HISTORY
        )
        stored = connection.execute(sa.select(sa.func.count()).select_from(interactions)).scalar_one()
        assert taken.num_interactions == stored
        return taken

    def retry(self, connection: Connection) -> object:
        """The same request, once more."""
        begun = begin_once(connection, self.ticket, self._claim if self.claim.num_interactions else self._create)
        return "taken" if isinstance(begun, Claim) else begun.interaction_id

    def create(self, connection: Connection) -> str:
        self._create(connection)
        return "created"

    def create_at_once(self, connection: Connection) -> str:
        opening, lease = self._opening(), Lease(new_id(), new_id(), self.world.now + LEASE)
        standing = Standing(self.world.role_id)
        _at_once(connection, claim_at_once(lambda it: claims.claim_new(it, opening, lease), opening, lease, standing))
        return "created"

    def _opening(self) -> Opening:
        return Opening(self.world.org_id, self.claim.user_id, self.world.service_id, "release", {}, False)

    def _create(self, connection: Connection) -> Claim:
        opening = self._opening()
        return claims.claim_new(connection, opening, Lease(new_id(), new_id(), self.world.now + LEASE))

    def finish(self, connection: Connection) -> str:
        found = get_conversation(connection, self.world.org_id, self.claim.conversation_id)
        finish.finish(connection, found)
        return "finished"

    def delete(self, connection: Connection) -> str:
        delete_user(connection, lock_user(connection, self.world.org_id, self.claim.user_id))
        return "deleted"


def _at_once(connection: Connection, shortcut: Shortcut[T]) -> T:
    """Do what a shortcut does, as the thread that runs them would. Returns its result."""
    driver: Any = connection.connection.driver_connection
    rows: list[Any] = []
    for statement, parameters in shortcut.steps():
        for call in Watched.before:
            call()

        cursor = psycopg.RawCursor(driver).execute(statement.sql, statement.compiled.bound(parameters))
        rows.append(cursor.fetchone())
    if rows[0] is None:
        return shortcut.unit(connection)
    return shortcut.read(*shortcut.steps()[0][0].compiled.values(rows[0]))


@pytest.fixture(scope="module")
def world(postgres_server: Postgres) -> Iterator[World]:
    url = postgres_server.create()
    with opened(url) as made:
        driver: Any = made.workers[0].connection.dbapi_connection
        driver.cursor_factory = Watched
        made.workers[0].rollback()
        yield made
    postgres_server.drop(url)


def _set_up(world: World, *, turns_before: int) -> Scene:
    """Anew: a user, so many settled turns, and one that runs, with a key."""
    new = NewUser(world.role_id, "Test", "Person", f"{secrets.token_hex(8)}@example.com", DEFAULT_PREFERENCES)
    world.now, owner = START, new_id()

    def prepare(connection: Connection) -> Scene:
        for table in ("idempotency_keys", "streams", "messages", "interactions", "conversations"):
            connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608 - one of these
        user_id = insert_user(connection, world.org_id, new)
        opening = Opening(world.org_id, user_id, world.service_id, "release", {}, False)
        ticket = IdempotencyTicket(world.org_id, user_id, "key", "hash", START + REPLAY)

        def begin(connection: Connection) -> Claim:
            return claims.claim_new(connection, opening, Lease(owner, new_id(), START + LEASE))

        def go_on(connection: Connection) -> Claim:
            lease = Lease(owner, new_id(), world.now + LEASE)
            return claims.claim_existing(
                connection, get_conversation(connection, world.org_id, opening.conversation_id), lease, HISTORY
            )

        for _ in range(turns_before):
            Scene(world, begin(connection), ticket, owner).settle(connection)
            world.now += LEASE / 10
            begin = go_on
        claimed = begin_once(connection, ticket, begin)
        assert isinstance(claimed, Claim)
        return Scene(world, claimed, ticket, owner)

    return world.run(1, prepare)


def _attempt(scene: Scene, worker: int, name: str) -> object:
    """Run a unit, a retry that meets an obstacle once more, as the engine does. Return its answer or its refusal."""
    try:
        return scene.world.run(worker, getattr(scene, name))
    except (BadRequest, Conflict) as error:
        if name != "retry":
            return type(error)
    except TertuliaError as error:
        return type(error)
    try:
        return scene.world.run(worker, getattr(scene, name))
    except TertuliaError as error:
        return type(error)


def _interleave(scene: Scene, first: str, second: str, at: int) -> tuple[object, object, bool]:
    """Both results, and whether there was a statement number `at` of the first."""
    begun: list[Future[object]] = []
    count = 0

    def before() -> None:
        nonlocal count
        if count == at:
            begun.append(pool.submit(_attempt, scene, 1, second))
            wait(begun, BLOCKED_S)
        count += 1

    with ThreadPoolExecutor(1) as pool:
        Watched.before.append(before)
        try:
            result = _attempt(scene, 0, first)
        finally:
            Watched.before.clear()
        return result, begun[0].result() if begun else None, bool(begun)


PAIRS = [
    ("look_up", "settle"),
    ("look_up", "abandon"),
    ("retry", "settle"),
    ("retry", "abandon"),
    ("sweep", "settle"),
    ("sweep", "renew"),
    ("sweep", "take"),
    ("take", "settle"),
    ("take", "take"),
    ("take", "renew"),
    ("take", "sweep"),
    ("create", "settle"),
    ("create", "create"),
    ("finish", "settle"),
    ("finish", "take"),
    ("settle", "sweep"),
    ("settle", "take"),
    ("settle", "finish"),
    ("settle", "create"),
    ("settle", "retry"),
    ("abandon", "take"),
    ("abandon", "settle"),
    ("delete", "settle"),
    ("delete", "take"),
    ("settle", "delete"),
    ("take", "delete"),
    ("look_up", "settle_at_once"),
    ("retry", "settle_at_once"),
    ("sweep", "settle_at_once"),
    ("take", "settle_at_once"),
    ("delete", "settle_at_once"),
    ("abandon", "settle_at_once"),
    ("settle_at_once", "sweep"),
    ("settle_at_once", "take"),
    ("settle_at_once", "delete"),
    ("settle_at_once", "abandon"),
    ("create_at_once", "settle_at_once"),
    ("create", "create_at_once"),
    ("create_at_once", "create"),
]


@pytest.mark.parametrize("turns_before", [0, 1], ids=["first turn", "second turn"])
@pytest.mark.parametrize("expired", [False, True], ids=["live", "expired"])
@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
def test_two_units_at_once_leave_what_one_after_the_other_would(
    world: World, monkeypatch: pytest.MonkeyPatch, pair: tuple[str, str], expired: bool, turns_before: int
) -> None:
    monkeypatch.setattr(clock, "now", lambda: world.now)
    at, there_was_one = 0, True
    while there_was_one:
        scene = _set_up(world, turns_before=turns_before)
        if expired:
            world.now += LEASE
        results = _interleave(scene, *pair, at)
        there_was_one = results[2]
        if there_was_one:
            names = [name.removesuffix("_at_once") for name in pair]
            _check(scene, dict(zip(names, results, strict=False)), expired=expired)
        at += 1
    assert at > 1, "the first has no statements"


def _check(scene: Scene, results: dict[str, object], *, expired: bool) -> None:
    halves, settled, alive = scene.world.run(1, _read, scene.claim)
    assert halves == {}, results
    deleted = results.get("delete") == "deleted"
    if "settle" in results:
        assert (results["settle"] == "settled") == settled or deleted, results
        assert results["settle"] in {"settled", Conflict}
        assert results["settle"] == "settled" or expired or "abandon" in results, results
    if "look_up" in results:
        void = "abandon" in results or expired
        assert results["look_up"] in [
            RecordedStream(Outline(BODY)),
            RunningElsewhere(scene.owner),
            *([NotFound] if void else []),
        ]
    if "retry" in results:
        known = scene.claim.interaction_id
        assert results["retry"] in [known, *(["taken"] if expired or "abandon" in results else [])], results
        assert results["retry"] == known or not (settled or alive), "what was asked once has happened twice"


def _read(connection: Connection, claim: Claim) -> tuple[dict[str, Any], bool, bool]:
    """Read what is half there, if the turn is settled, and if it still has its conversation."""
    halves = {name: rows for name, query in HALVES.items() if (rows := connection.execute(query).all())}
    settled = sa.select(interactions.c.id).where(interactions.c.id == claim.interaction_id)
    holds = sa.select(conversations.c.id).where(conversations.c.lease_interaction_id == claim.interaction_id)
    return halves, connection.execute(settled).first() is not None, connection.execute(holds).first() is not None
