"""Lists and the search of an organization of many users: the work is that of an organization of few.

Work is counted, not timed: steps of SQLite's machine, rows that PostgreSQL reads.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import Connection, Engine

from tertulia.storage import conversation as conversations
from tertulia.storage import tables, user_search
from tertulia.storage import user as users
from tertulia.storage.conversation import ConversationFilter
from tertulia.storage.database import dialect
from tertulia.storage.database.paging import Sort, SortKey, Window
from tertulia.storage.user import UserFilter

pytestmark = pytest.mark.both_databases

SIZES = {"few": 200, "many": 2000}
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)

Call = Callable[[Connection, str], object]


def user_of(org_id: str, number: int) -> str:
    return f"{org_id}-{number:06}"


def rows_of(org_id: str, number: int) -> dict[sa.Table, list[dict[str, Any]]]:
    """The rows of a user, with one conversation of one message."""
    user_id, at = user_of(org_id, number), BEGAN + timedelta(seconds=number * 7919 % SIZES[org_id])
    first, last = "ABCDEFGH"[number % 8] * 3, "JKLMNOPQ"[number // 8 % 8] * 3
    email = f"{number}@x.io"
    text = f"{first} {last} {email}".casefold()
    user = {"id": user_id, "org_id": org_id, "role_id": f"role-{org_id}", "first_name": first, "last_name": last}
    user |= {"email": email, "search_text": text, "is_verified": True, "preferences": {}, "created_at": at}
    user |= dict.fromkeys(("conversations_visible_to_admins", "user_model_visible_to_admins"), True)
    user |= {"additional_context": [], "nonsensitive_variables": {}, "sensitive_variables": {}}
    user |= {"num_conversations": 1, "num_messages": 1, "last_message_time": at}
    conversation = {"id": f"c-{user_id}", "org_id": org_id, "user_id": user_id, "service_id": f"s{number % 2}"}
    conversation |= {"version_set_name": "release", "agent_id": "a", "agent_version": 1, "context_graph_id": "g"}
    conversation |= {"context_graph_version": 1, "llm_model_preferences": {}, "tags": {}, "is_test": False}
    conversation |= {"is_finished": number % 3 == 0, "is_analyzed": False, "completed_post_processings": []}
    conversation |= {"position": [], "num_interactions": 1, "num_messages": 1, "last_message_time": at}
    conversation |= {"created_at": at, "lease_token": 0}
    message = {"id": f"m-{user_id}", "org_id": org_id, "conversation_id": conversation["id"], "interaction_id": "i"}
    message |= {"message_type": "agent-message", "format": "text", "sender": "agent", "content": "Hi", "created_at": at}
    entries = [{"org_id": org_id, "part": part, "user_id": user_id} for part in user_search.parts(text)]
    return {
        tables.users: [user],
        tables.user_search: entries,
        tables.conversations: [conversation],
        tables.messages: [message],
    }


def fill(connection: Connection, org_id: str) -> None:
    role = {"id": f"role-{org_id}", "org_id": org_id, "name": "Any", "description": "", "permission_grants": []}
    connection.execute(sa.insert(tables.roles), role | {"frontend_view": "client", "created_at": BEGAN})
    made = [rows_of(org_id, number) for number in range(SIZES[org_id])]
    for table in made[0]:
        rows = [row for each in made for row in each[table]]
        key = [column.name for column in table.primary_key]
        connection.execute(sa.insert(table), sorted(rows, key=lambda row: [row[name] for name in key]))


@pytest.fixture(scope="module")
def filled(database_kind: str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    with ExitStack() as stack:
        if database_kind == "sqlite":  # in memory, where there is such a folder: the disk is not what is tried
            memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - for its speed
            folder = stack.enter_context(TemporaryDirectory(dir=memory))
            url = f"sqlite:///{shutil.copy(request.getfixturevalue('sqlite_template'), folder)}"
        else:
            url = request.getfixturevalue("database_url")
        engine = dialect.create_engine(url, 1)
        stack.callback(engine.dispose)
        fill_all(engine)
        yield engine


def fill_all(engine: Engine) -> None:
    with engine.begin() as connection:
        for org_id in SIZES:
            fill(connection, org_id)
        if connection.dialect.name == "postgresql":  # as autovacuum does
            connection.exec_driver_sql("ANALYZE")


# --- The work of a call ----------------------------------------------------------------------------------------------


def steps(connection: Connection, call: Call, org_id: str) -> int:
    """Count the steps of SQLite's machine, in tens."""
    counted = [0]

    def tick() -> int:
        counted[0] += 1
        return 0

    driver: Any = connection.connection.driver_connection
    driver.set_progress_handler(tick, 10)
    try:
        call(connection, org_id)
    finally:
        driver.set_progress_handler(None, 10)
    return counted[0]


def statements(connection: Connection, call: Call, org_id: str) -> list[tuple[str, Any]]:
    """Make a call. Returns its statements as the driver has them, with their parameters."""
    found: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: object, *_more: object) -> None:
        found.append((statement, parameters))

    event.listen(connection.engine, "before_cursor_execute", note)
    try:
        call(connection, org_id)
    finally:
        event.remove(connection.engine, "before_cursor_execute", note)
    return found


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from nodes(below)


def plans(connection: Connection, call: Call, org_id: str) -> list[dict[str, Any]]:
    """Have PostgreSQL explain the statements of a call by running them. Returns their plans.

    Tables are small here, so it reads whole ones wherever it may: it may not.
    """
    for way in ("seqscan", "hashjoin", "mergejoin", "bitmapscan"):
        connection.exec_driver_sql(f"SET enable_{way} = off")
    return [
        connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {text}", values).scalar_one()[0]["Plan"]
        for text, values in statements(connection, call, org_id)
    ]


def work(connection: Connection, call: Call, org_id: str) -> int:
    if connection.dialect.name == "sqlite":
        return steps(connection, call, org_id)
    read = [node for plan in plans(connection, call, org_id) for node in nodes(plan) if "Relation Name" in node]
    return sum(
        int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
        for node in read
        if node["Relation Name"] != "roles"
    )


def scanned(connection: Connection, call: Call, org_id: str) -> list[str]:
    """The large tables that a call reads from the beginning to the end."""
    large = {"users", "conversations", "messages", "user_search"}
    if connection.dialect.name == "postgresql":
        every = [node for plan in plans(connection, call, org_id) for node in nodes(plan)]
        return [
            node["Relation Name"]
            for node in every
            if node["Node Type"] == "Seq Scan" and node["Relation Name"] in large
        ]
    told = [
        row[3]
        for text, values in statements(connection, call, org_id)
        for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}", values)
    ]
    return [line for line in told if line.startswith("SCAN") and line.split()[1] in large]


# --- The calls -------------------------------------------------------------------------------------------------------


def one(org_id: str) -> str:
    return user_of(org_id, 111)


def several(org_id: str) -> Sequence[str]:
    return [user_of(org_id, number) for number in range(0, 200, 5)]


def list_users(sort: Sort = (), *, own: bool = False, narrow: Callable[[str], UserFilter] | None = None) -> Call:
    def call(connection: Connection, org_id: str) -> object:
        visible = users.COLUMNS["user_id"].in_([one(org_id)]) if own else sa.true()
        chosen = narrow(org_id) if narrow else UserFilter()
        return users.list_users(connection, org_id, visible, chosen, sort, Window(100)).items

    return call


def list_conversations(
    sort: Sort = (), *, own: bool = False, narrow: Callable[[str], ConversationFilter] | None = None
) -> Call:
    def call(connection: Connection, org_id: str) -> object:
        visible = conversations.COLUMNS["conversation_user_id"].in_([one(org_id)]) if own else sa.true()
        chosen = narrow(org_id) if narrow else ConversationFilter()
        return conversations.list_conversations(connection, org_id, visible, chosen, sort, Window(100)).items

    return call


def search(text: str, user_ids: Callable[[str], Sequence[str]] | None = None) -> Call:
    def call(connection: Connection, org_id: str) -> object:
        ids = user_ids(org_id) if user_ids else None
        visible = users.COLUMNS_OF_THE_FEW["org_id"].in_([org_id])
        return users.search_users(connection, org_id, visible, text, ids)

    return call


CALLS: dict[str, Call] = {
    "users": list_users(),
    "users by first name": list_users([SortKey("first_name")]),
    "users by first name, backwards": list_users([SortKey("first_name", descending=True)]),
    "users by last name": list_users([SortKey("last_name")]),
    "users by email": list_users([SortKey("email")]),
    "users by email, backwards": list_users([SortKey("email", descending=True)]),
    "oneself among users": list_users(own=True),
    "users by ids": list_users(narrow=lambda org_id: UserFilter(user_id=several(org_id))),
    "users by emails": list_users(narrow=lambda _: UserFilter(email=[f"{number}@x.io" for number in range(40)])),
    "conversations": list_conversations(),
    "conversations, the oldest first": list_conversations([SortKey("created_at")]),
    "one's own conversations": list_conversations(own=True),
    "one's own conversations, the oldest first": list_conversations([SortKey("created_at")], own=True),
    "conversations of a user": list_conversations(narrow=lambda org_id: ConversationFilter(user_id=[one(org_id)])),
    "conversations of users": list_conversations(narrow=lambda org_id: ConversationFilter(user_id=several(org_id))),
    "conversations by ids": list_conversations(
        narrow=lambda org_id: ConversationFilter(id=[f"c-{user_id}" for user_id in several(org_id)])
    ),
    "conversations of a service": list_conversations(narrow=lambda _: ConversationFilter(service_id=["s1"])),
    "conversations that go on": list_conversations(narrow=lambda _: ConversationFilter(is_finished=False)),
    "a text that all contain": search("@x.io"),
    "a letter that all contain": search("x"),
    "a text that one contains": search("ooo 111@"),
    "a text that nobody contains": search("@x.iou"),
    "names that nobody has together": search("aaa jjj 1@x.io aaa"),
    "no text": search(""),
    "a text that one contains oneself": search("x.io", lambda org_id: [one(org_id)]),
}


@pytest.mark.parametrize("name", CALLS)
def test_an_organization_of_many_users_costs_no_more_than_one_of_few(filled: Engine, name: str) -> None:
    call = CALLS[name]
    with filled.connect() as connection:
        call(connection, "few")  # what is compiled once
        few, many = (work(connection, call, org_id) for org_id in SIZES)

        assert many <= few * 1.5 + 12, (few, many)  # an index of many rows has a level or two more
        assert scanned(connection, call, "many") == []


def test_a_list_in_an_order_that_no_index_has_shows_that_the_measure_does(filled: Engine) -> None:
    with filled.connect() as connection:
        few, many = (work(connection, list_users([SortKey("user_stats.num_messages")]), org_id) for org_id in SIZES)

    assert many > few * 3
