"""The statements that a turn sends to the database: a fixed number, however long the conversation is."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from typing import Any

import httpx2
import psycopg
import pytest
from sqlalchemy import Pool, event

from support import samples, spoken, talk
from support.jobs import wait_until_done
from support.server import Serve, Server
from tertulia.audio.pcm import RATE, wav
from tertulia.background import search_index, user_statistics
from tertulia.storage.database import lane
from tertulia.storage.turn.parts import PART_BYTES

pytestmark = pytest.mark.both_databases

ROWS = ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH")
"""Words that begin a statement on rows; transactions have their own words around it."""
CREATE = {
    "sqlite": {"SELECT": 3, "INSERT": 6, "UPDATE": 3},
    "postgres": {"SELECT": 2, "WITH": 3},
}
"""SQLite tells a statement once more that begins a trigger: the one that keeps tags.

On PostgreSQL: two messages, each with settings, and a statement that does all; and the count of the organization."""
INTERACT = {
    "sqlite": {"SELECT": 3, "INSERT": 5, "UPDATE": 4},
    "postgres": {"SELECT": 4, "UPDATE": 1, "WITH": 2},
}
MESSAGE = "Hm."
"""The scripted model stays where it is, so that the conversation does not end."""
REPEATS = 5
"""The fewest of so many are the turn's: the server does other work now and then."""

_JOBS = re.compile("FROM jobs|UPDATE jobs")  # the worker of jobs looks for some all the time

Heard = list[str]


@pytest.fixture(scope="module")
def heard() -> Iterator[Heard]:
    """Every statement that a driver is given, from here on: below whatever the product sends it through."""
    statements: Heard = []

    class Cursor(psycopg.Cursor[Any]):
        def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            statements.append(query if isinstance(query, str) else bytes(query).decode())
            execute: Any = super().execute  # it has a form for each kind of query
            return execute(query, *args, **kwargs)

    def listen(connection: Any, _record: object) -> None:
        if isinstance(connection, psycopg.Connection):
            connection.cursor_factory = Cursor
        else:
            connection.set_trace_callback(statements.append)

    def exchange(connection: Any, plans: Any, messages: Sequence[Any]) -> Any:
        statements.extend(message.sql.decode() for message in messages)
        return together(connection, plans, messages)

    together, lane._exchange = lane._exchange, exchange
    event.listen(Pool, "connect", listen)
    yield statements
    event.remove(Pool, "connect", listen)
    lane._exchange = together


@pytest.fixture(scope="module")
def server(heard: Heard, serve: Serve) -> Iterator[Server]:
    """A server that writes nothing by the clock: on a slow machine, every turn would be counted with that beside it."""
    with pytest.MonkeyPatch.context() as patch:
        for loop in (search_index, user_statistics):
            patch.setattr(loop, "LOOK_S", 3600)
        yield serve()


@pytest.fixture
def client(server: Server) -> Iterator[httpx2.Client]:
    yield server.as_user
    for conversation in talk.conversations(server.as_user, is_finished=False):
        talk.finish(server.as_user, conversation["id"])
    wait_until_done(server)


def once(heard: Heard, turn: Callable[[], object]) -> Counter[str]:
    """Statements of a turn, by what they do."""
    heard.clear()
    turn()
    verbs = (statement.split(maxsplit=1)[0].upper() for statement in heard if not _JOBS.search(statement))
    return Counter(verb for verb in verbs if verb in ROWS)


def count(heard: Heard, turn: Callable[[], object]) -> Counter[str]:
    """Statements of the cheapest of several such turns: now and then one is counted with work beside it."""
    return min((once(heard, turn) for _ in range(REPEATS)), key=Counter.total)


def test_a_create_sends_a_fixed_number_of_statements(
    heard: Heard, server: Server, client: httpx2.Client, database_kind: str
) -> None:
    service_id = server.demo.service_id

    def create() -> None:
        begun = talk.begin(client, service_id)
        before = list(heard)
        assert talk.finish(client, talk.id_of(begun)).is_success
        wait_until_done(server)  # or the jobs of one conversation would write beside the create of the next
        heard[:] = before

    create()
    assert count(heard, create) == CREATE[database_kind]


def test_a_turn_sends_as_many_statements_late_in_a_conversation_as_early(
    heard: Heard, server: Server, client: httpx2.Client, database_kind: str
) -> None:
    conversation_id = talk.id_of(talk.begin(client, server.demo.service_id))

    def interact() -> None:
        talk.go_on(client, conversation_id, MESSAGE)

    early = count(heard, interact)
    for _ in range(30 - 1 - REPEATS):
        interact()
    late = count(heard, interact)
    assert early == late == INTERACT[database_kind]


def test_a_spoken_turn_also_looks_for_keyterms_and_keeps_two_recordings(
    heard: Heard, server: Server, client: httpx2.Client
) -> None:
    conversation_id = talk.id_of(talk.begin(client, server.demo.service_id))
    recording = spoken.said(MESSAGE)

    def sound(kept: bytes) -> int:
        return ceil(len(kept) / PART_BYTES)

    def beside_the_sound() -> Counter[str]:
        replies: list[talk.Event] = []

        def interact() -> None:
            answer = spoken.send(client, conversation_id, recording, spoken.BARE, response_format="voice")
            replies.extend(talk.lines(answer))

        counted = once(heard, interact)
        parts = sound(wav(recording, RATE)) + sound(wav(spoken.sound(replies), RATE))
        return counted - Counter(INSERT=parts)

    beside_the_sound()
    counted = min((beside_the_sound() for _ in range(REPEATS)), key=Counter.total)
    assert counted == {"SELECT": 4, "INSERT": 7, "UPDATE": 4}


def test_dynamic_behaviours_cost_no_statement_once_they_are_known(
    heard: Heard, server: Server, client: httpx2.Client, database_kind: str
) -> None:
    service_id = samples.make_service(server.as_admin)
    set_id = samples.make_behavior(server.as_admin, service_id)
    conversation_id = talk.id_of(talk.begin(client, service_id))

    def interact() -> None:
        talk.go_on(client, conversation_id, MESSAGE)

    interact()
    active = count(heard, interact)
    server.as_admin.delete(f"/dynamic_behavior_set/{set_id}/").raise_for_status()
    interact()
    deleted = count(heard, interact)
    assert active == deleted == INTERACT[database_kind]
