"""The server dies by SIGKILL, wherever that may be in a turn, and is started again.

What was acknowledged is there whole; nothing is half there; the key of a settled turn replays it, that of a void one
begins anew; and nobody is locked out for longer than a lease lasts.
"""

import os
import random
import secrets
import threading
from collections.abc import Callable, Iterator
from math import ceil
from pathlib import Path

import pytest

from durability.crashing import PLACES
from durability.lives import LEASE_S, PIECES, Answer, Installation, Request, User, check_whole
from support.parallel import PARTS, in_parts
from support.server import settings_of

pytestmark = [pytest.mark.both_databases, pytest.mark.heavy]

MOMENTS = int(os.environ.get("DURABILITY_MOMENTS", "40"))
"""Kills of the server at random moments, over all parts; a few of them suffice for each change."""

MOMENTS_OF_A_PART = {"sqlite": ceil(MOMENTS / PARTS), "postgres": ceil(MOMENTS / 4 / PARTS)}

SEED = int(os.environ.get("DURABILITY_SEED", "0")) or secrets.randbelow(1 << 32)
CLIENTS = 8
TURNS_OF_A_LIFE = 12
MOMENT_S = 0.03
DEAD = 0
"""The status of an answer that has not come."""
LOCKED_S = LEASE_S + 2.0
"""A lease, and what a busy machine may add."""


@pytest.fixture
def installation(new_database: Callable[[], str], tmp_path: Path) -> Iterator[Installation]:
    made = Installation(settings_of(data=tmp_path, database={"url": new_database(), "pool_size": 4}))
    made.start()
    yield made
    made.close()


@pytest.mark.parametrize("what", ["create", "interact"])
def test_a_turn_is_whole_or_has_never_been_wherever_the_server_dies(installation: Installation, what: str) -> None:
    user = installation.user()
    last, _ = user.insist(Request(None, "Hello"))
    reached = dict.fromkeys(PLACES, 0)
    for place in PLACES:
        survived = False
        while not survived:
            request = Request(_conversation_for(what, user, last), "Hello again")
            installation.arm((place, reached[place] + 1))
            first = user.send(request)
            survived = first.whole
            if survived:
                installation.arm(None)
            else:
                reached[place] += 1
                installation.died()
                installation.start()
            last = _outcome(user, request, first)
    print(f"killed at {sum(reached.values())} points: {reached}")
    assert installation.faults() == []
    assert min(reached["turn suspends"], reached["turn resumes"]) > PIECES
    assert min(reached["request suspends"], reached["request resumes"]) >= 1
    assert {reached[place] for place in PLACES[4:]} == {1}


def _conversation_for(what: str, user: User, last: Answer) -> str | None:
    if what == "interact":
        return last.conversation_id
    assert user.finish(last.conversation_id) == 204
    return None


def _outcome(user: User, request: Request, first: Answer) -> Answer:
    """Send a request that was answered so far again until it is done. Return its answer."""
    done, took = user.insist(request)
    assert took < LOCKED_S
    _check_retry(user, first, done)
    check_whole(user, done)
    return done


def _check_retry(user: User, first: Answer, done: Answer) -> None:
    if first.is_acknowledged:
        assert done.is_replayed
        assert done.body == first.body
    elif done.is_replayed:
        assert done.body.startswith(first.body)
    elif first.interaction_id:
        status = user.replay(first.conversation_id, first.interaction_id).status
        assert status in {404, DEAD}


class Client:
    """Creates, goes on and finishes, again and again; what a dead server leaves open it takes up with the next one."""

    def __init__(self, user: User) -> None:
        self.user = user
        self.pending: Request | None = None
        self.cut: Answer | None = None
        self.last: Answer | None = None
        self.turns = 0
        self.acknowledged: list[Answer] = []

    def live(self, dead: threading.Event, settled: threading.Semaphore) -> None:
        while not dead.is_set() and self._step(dead):
            if self.pending is None:
                settled.release()

    def _step(self, dead: threading.Event) -> bool:
        """One request; False where the server died under it."""
        if self.last is not None and self.turns % 4 == 0 and self.pending is None:
            if self.user.finish(self.last.conversation_id) == 0:
                return False  # finished or not: the next time, it is finished already
            self.last = None
        self.pending = self.pending or Request(self.last and self.last.conversation_id, "Hello")
        answer = self.user.send(self.pending)
        if answer.whole and answer.status in {409, 503}:
            dead.wait(0.05)
            return True
        if answer.is_acknowledged:
            self._acknowledge(answer)
        elif not answer.whole:
            self.cut = answer if answer.interaction_id or self.cut is None else self.cut
        else:
            raise AssertionError(answer)
        return answer.whole

    def _acknowledge(self, answer: Answer) -> None:
        if self.cut is not None and answer.whole:
            _check_retry(self.user, self.cut, answer)
        self.acknowledged.append(answer)
        self.last, self.pending, self.cut = answer, None, None
        self.turns += 1


@in_parts
def test_nothing_acknowledged_is_lost_at_random_moments_under_load(
    installation: Installation, database_kind: str, part: int
) -> None:
    print(f"DURABILITY_SEED={SEED}")
    moments = random.Random(SEED + part)
    clients = [Client(installation.user()) for _ in range(CLIENTS)]
    checked: list[tuple[User, Answer]] = []
    for _ in range(MOMENTS_OF_A_PART[database_kind]):
        _load_until(installation, clients, moments.randrange(TURNS_OF_A_LIFE), moments.uniform(0, MOMENT_S))
        installation.start()
        for client in clients:
            for answer in client.acknowledged:
                check_whole(client.user, answer)
                checked.append((client.user, answer))
            client.acknowledged.clear()
    for user, answer in checked:
        check_whole(user, answer)
    for client in clients:
        if client.pending is not None:
            _outcome(client.user, client.pending, client.cut or Answer())
    print(f"{len(checked)} turns acknowledged over {installation.starts} lives")
    assert len(checked) > installation.starts
    assert installation.faults() == []


def _load_until(installation: Installation, clients: list[Client], turns: int, moment_s: float) -> None:
    """Let all clients work, and kill the server a moment after so many turns."""
    dead = threading.Event()
    settled = threading.Semaphore(0)
    problems: list[BaseException] = []

    def work(client: Client) -> None:
        try:
            client.live(dead, settled)
        except BaseException as problem:  # noqa: BLE001 - shown where the test can see it
            problems.append(problem)

    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for _ in range(turns):
        settled.acquire(timeout=LOCKED_S)
    dead.wait(moment_s)
    installation.kill()
    dead.set()
    for thread in threads:
        thread.join()
    if problems:
        raise problems[0]
