"""Organizations of few and of many users, with a conversation each, and every list and search that finds them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia.storage import conversation as conversations
from tertulia.storage import tables, user_search
from tertulia.storage import user as users
from tertulia.storage.conversation import ConversationFilter
from tertulia.storage.database.paging import Sort, SortKey, Window
from tertulia.storage.user import UserFilter

RECENT = 20
"""Users who have spoken since their statistics were indexed."""

READ_TO = "mz"
"""The identifier between those of their messages and those of all others."""

AT_ONCE = 2000
"""Users who are made at once: no statement takes long on a busy machine."""

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)

Call = Callable[[Connection, str], object]


def user_of(org_id: str, number: int) -> str:
    return f"{org_id}-{number:06}"


def rows_of(org_id: str, number: int, count: int) -> dict[sa.Table, list[dict[str, Any]]]:
    """The rows of a user, with one conversation of one message."""
    user_id, at = user_of(org_id, number), BEGAN + timedelta(seconds=number * 7919 % count)
    first, last = "ABCDEFGH"[number % 8] * 3, "JKLMNOPQ"[number // 8 % 8] * 3
    email = f"{number}@x.io"
    text = f"{first} {last} {email}".casefold()
    user = {"id": user_id, "org_id": org_id, "role_id": f"role-{org_id}", "first_name": first, "last_name": last}
    user |= {"email": email, "search_text": text, "is_verified": True, "preferences": {}, "created_at": at}
    user |= dict.fromkeys(("conversations_visible_to_admins", "user_model_visible_to_admins"), True)
    user |= {"additional_context": [], "nonsensitive_variables": {}, "sensitive_variables": {}}
    user |= {"num_conversations": 1, "num_messages": 1, "last_message_time": at}
    tags = {"kind": "a", "number": str(number)} | ({"rare": None} if number == 13 else {})
    conversation = {
        "id": f"c-{user_id}",
        "org_id": org_id,
        "user_id": user_id,
        "service_id": "rare" if number == 7 else f"s{number % 2}",
    }
    conversation |= {
        "version_set_name": "edge" if number == 17 else "release",
        "agent_id": "a",
        "agent_version": 1,
        "context_graph_id": "g",
    }
    conversation |= {"context_graph_version": 1, "llm_model_preferences": {}, "tags": tags, "is_test": False}
    conversation |= {"is_finished": number == 11, "is_analyzed": False, "completed_post_processings": []}
    conversation |= {"position": [], "num_interactions": 1, "num_messages": 1, "last_message_time": at}
    conversation |= {"created_at": at, "lease_token": 0}
    message = {
        "id": f"{'n' if number < RECENT else 'm'}-{user_id}",
        "org_id": org_id,
        "conversation_id": conversation["id"],
        "interaction_id": "i",
    }
    message |= {"message_type": "agent-message", "format": "text", "sender": "agent", "content": "Hi", "created_at": at}
    counted = {"user_id": user_id, "org_id": org_id, "num_conversations": 1, "num_messages": number % 97 + 1}
    counted |= {"last_message_time": at, "created_at": at}
    user |= {"num_messages": number % 97 + 1 + (number < RECENT)}  # those have spoken since
    entries = [{"org_id": org_id, "part": part, "user_id": user_id} for part in user_search.parts(text)]
    return {
        tables.users: [user],
        tables.user_search: entries,
        tables.user_statistics: [counted],
        tables.conversations: [conversation],
        tables.messages: [message],
    }


def fill(connection: Connection, org_id: str, count: int) -> None:
    """Make an organization of so many users; `finish` has to follow."""
    role = {"id": f"role-{org_id}", "org_id": org_id, "name": "Any", "description": "", "permission_grants": []}
    connection.execute(sa.insert(tables.roles), role | {"frontend_view": "client", "created_at": BEGAN})
    for first in range(0, count, AT_ONCE):
        made = [rows_of(org_id, number, count) for number in range(first, min(first + AT_ONCE, count))]
        for table in made[0]:
            rows = [row for each in made for row in each[table]]
            for place in range(0, len(rows), AT_ONCE):
                _insert(connection, table, rows[place : place + AT_ONCE])


def _insert(connection: Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    if connection.dialect.name != "postgresql":
        connection.execute(sa.insert(table), rows)
        return
    names = list(rows[0])
    process = [table.c[name].type.bind_processor(connection.dialect) or (lambda value: value) for name in names]
    driver: Any = connection.connection.driver_connection
    with driver.cursor().copy(f"COPY {table.name} ({', '.join(names)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row([change(row[name]) for name, change in zip(names, process, strict=True)])


def finish(connection: Connection) -> None:
    """Do what the server's loops and the database's own do after some time."""
    connection.execute(sa.update(tables.statistics_progress).values(read_to=READ_TO))
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("ANALYZE")


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
        chosen = replace(chosen, user_id=[one(org_id)]) if own else chosen  # as the API has it
        return conversations.list_conversations(connection, org_id, visible, chosen, sort, Window(100)).items

    return call


def search(text: str, user_ids: Callable[[str], Sequence[str]] | None = None) -> Call:
    def call(connection: Connection, org_id: str) -> object:
        ids = user_ids(org_id) if user_ids else None
        visible = users.COLUMNS_OF_THE_FEW["org_id"].in_([org_id])
        return users.search_users(connection, org_id, visible, text, ids)

    return call


OF_A_SERVICE = ConversationFilter(service_id=["s1"])
OF_SERVICES = ConversationFilter(service_id=["s0", "s1"])
UNFINISHED = ConversationFilter(is_finished=False)
TAGGED = ConversationFilter(tag=[("kind", "a"), ("number", "*")])

CALLS: dict[str, Call] = {
    "users": list_users(),
    "users by first name": list_users([SortKey("first_name")]),
    "users by first name, backwards": list_users([SortKey("first_name", descending=True)]),
    "users by last name": list_users([SortKey("last_name")]),
    "users by last name, backwards": list_users([SortKey("last_name", descending=True)]),
    **{
        f"users by {field}{', backwards' if descending else ''}": list_users(
            [SortKey(f"user_stats.{field}", descending)]
        )
        for field in ("num_conversations", "num_messages", "last_message_time")
        for descending in (False, True)
    },
    "oneself among users, by messages": list_users([SortKey("user_stats.num_messages")], own=True),
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
    "one's own conversations of a service": list_conversations(own=True, narrow=lambda _: OF_A_SERVICE),
    "one's own conversations of services": list_conversations(own=True, narrow=lambda _: OF_SERVICES),
    "one's own conversations that go on": list_conversations(own=True, narrow=lambda _: UNFINISHED),
    "one's own conversations with a tag that all have": list_conversations(own=True, narrow=lambda _: TAGGED),
    "conversations of users of a service": list_conversations(
        narrow=lambda org_id: replace(OF_A_SERVICE, user_id=several(org_id))
    ),
    "conversations of users": list_conversations(narrow=lambda org_id: ConversationFilter(user_id=several(org_id))),
    "conversations by ids": list_conversations(
        narrow=lambda org_id: ConversationFilter(id=[f"c-{user_id}" for user_id in several(org_id)])
    ),
    "conversations of a service": list_conversations(narrow=lambda _: OF_A_SERVICE),
    "conversations of a service that has few": list_conversations(
        narrow=lambda _: ConversationFilter(service_id=["rare"])
    ),
    "conversations of services that have few": list_conversations(
        narrow=lambda _: ConversationFilter(service_id=["rare", "none"])
    ),
    "conversations that go on": list_conversations(narrow=lambda _: UNFINISHED),
    "conversations that have ended, few": list_conversations(narrow=lambda _: ConversationFilter(is_finished=True)),
    "conversations of a version set that few have": list_conversations(
        narrow=lambda _: ConversationFilter(version_set_name=["edge"])
    ),
    "conversations with a tag that few have": list_conversations(
        narrow=lambda _: ConversationFilter(tag=[("rare", "*")])
    ),
    "conversations with a value that one has": list_conversations(
        narrow=lambda org_id: ConversationFilter(tag=[("number", "111")])
    ),
    "conversations with a tag that all have": list_conversations(narrow=lambda _: TAGGED),
    "a text that all contain": search("@x.io"),
    "a letter that all contain": search("x"),
    "a text that one contains": search("ooo 111@"),
    "a text that nobody contains": search("@x.iou"),
    "names that nobody has together": search("aaa jjj 1@x.io aaa"),
    "no text": search(""),
    "a text that one contains oneself": search("x.io", lambda org_id: [one(org_id)]),
}
