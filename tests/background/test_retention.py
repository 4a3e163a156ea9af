"""Retention: what is older than an organization wants goes with all that belongs to it; nothing else does."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from support.server import Serve, Server
from support.talk import begin, go_on
from support.targets import make_targets
from tertulia import clock
from tertulia.auth.secrets import AUDIT_LOG, SecretBox
from tertulia.background import retention as background
from tertulia.storage import audit, retention
from tertulia.storage.database.units import Database, open_database
from tertulia.storage.tables import (
    conversations,
    memories,
    messages,
    metadata,
    organization_usage,
    recordings,
    traces,
    users,
)

pytestmark = pytest.mark.both_databases

RETENTION = "/organization/retention/"


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve()


@pytest.fixture
def storage(server: Server) -> Iterator[Database]:
    opened = open_database(server.settings.cluster_urls["default"], 2)
    yield opened
    opened.close()


@pytest.fixture
def said(server: Server) -> dict[str, str]:
    """A spoken conversation with all that one can have."""
    for one in server.as_user.get("/conversation/", params={"is_finished": False}).json()["conversations"]:
        server.as_user.post(f"/conversation/{one['id']}/finish/")
    targets = make_targets(server, server.as_user, server.demo.user_id)
    go_on(server.as_user, targets["conversation_id"], "Hello, I am here.")
    return targets


def keep(server: Server, **days: int | None) -> None:
    server.as_admin.put(RETENTION, json=days).raise_for_status()
    assert server.as_admin.get(RETENTION).json() == {**dict.fromkeys(FIELDS), **days}


FIELDS = ("conversations_days", "recordings_days", "traces_days", "memories_days")


async def after(monkeypatch: pytest.MonkeyPatch, storage: Database, days: int) -> None:
    """Have removed what is past its time in so many days."""
    later = clock.now() + timedelta(days=days, minutes=1)
    monkeypatch.setattr(background, "clock", SimpleNamespace(now=lambda: later))
    await background.Keeper(storage).remove_expired()


def count(connection: sa.Connection, table: sa.Table, **which: str) -> int:
    query = sa.select(sa.func.count()).select_from(table)
    return connection.execute(query.where(*(table.c[name] == value for name, value in which.items()))).scalar_one()


def left_of(connection: sa.Connection, conversation_id: str) -> dict[str, int]:
    tables = [table for table in metadata.sorted_tables if "conversation_id" in table.c]
    found = {table.name: count(connection, table, conversation_id=conversation_id) for table in tables}
    found["conversations"] = count(connection, conversations, id=conversation_id)
    return {name: number for name, number in found.items() if number}


def counted(connection: sa.Connection, user_id: str) -> tuple[int, int]:
    """The bytes that are counted for a user and their organization, and those of what was said that are stored."""
    mine = sa.select(conversations.c.id).where(conversations.c.user_id == user_id)
    texts = connection.execute(sa.select(messages.c.content).where(messages.c.conversation_id.in_(mine))).scalars()
    sound = sa.select(sa.func.coalesce(sa.func.sum(recordings.c.size), 0)).where(recordings.c.conversation_id.in_(mine))
    stored = sum(len(text.encode()) for text in texts) + int(connection.execute(sound).scalar_one())
    return connection.execute(sa.select(users.c.stored_bytes).where(users.c.id == user_id)).scalar_one(), stored


async def test_a_conversation_goes_with_all_that_belongs_to_it(
    server: Server, storage: Database, said: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = said["conversation_id"]
    keep(server, conversations_days=10)
    await after(monkeypatch, storage, 9)
    kept = await storage.read(left_of, talk)
    assert set(kept) >= {"conversations", "interactions", "messages", "recordings", "memories", "traces", "streams"}

    await after(monkeypatch, storage, 10)

    assert await storage.read(left_of, talk) == {}
    assert server.as_user.get(f"/conversation/{talk}/messages/").status_code == 404
    of_user, stored = await storage.read(counted, server.demo.user_id)
    assert of_user == stored
    assert await storage.read(_count_usage) >= 0
    assert begin(server.as_user, server.demo.service_id)[-1]["type"] == "interaction-complete"


def _count_usage(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(sa.func.min(organization_usage.c.stored_bytes))).scalar_one())


KINDS: dict[str, tuple[str, sa.Table]] = {
    "recordings": ("recordings_days", recordings),
    "traces": ("traces_days", traces),
    "memories": ("memories_days", memories),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_kind_goes_in_its_time_and_the_words_stay(
    server: Server, storage: Database, said: dict[str, str], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    field, table = KINDS[kind]
    talk = said["conversation_id"]
    before = await storage.read(left_of, talk)
    keep(server, **{field: 5})
    await after(monkeypatch, storage, 4)
    assert await storage.read(left_of, talk) == before

    await after(monkeypatch, storage, 5)

    left = await storage.read(left_of, talk)
    assert left == {name: number for name, number in before.items() if name != table.name}
    of_user, stored = await storage.read(counted, server.demo.user_id)
    assert of_user == stored
    listed = server.as_user.get(f"/conversation/{talk}/messages/").json()["messages"]
    assert [message["message"] for message in listed][1] == "Hello, I am here."


async def test_portions_remove_all_and_what_others_keep_stays(
    server: Server, storage: Database, said: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "PORTION_ROWS", 1)
    monkeypatch.setattr(retention, "CONVERSATIONS", 1)
    later = clock.now() + timedelta(days=1)
    before = await storage.read(left_of, said["conversation_id"])
    assert await storage.write(retention.remove_conversations, "another", later) is False
    assert await storage.write(retention.remove_traces, "another", "", later) is False
    assert await storage.read(left_of, said["conversation_id"]) == before

    portions = [await storage.write(retention.remove_conversations, "demo", later)]
    while portions[-1]:
        portions.append(await storage.write(retention.remove_conversations, "demo", later))

    assert len(portions) > 3
    assert await storage.read(count, conversations) == 0


WRONG: list[Any] = [0, -1, 36_501, 1.5, "5", True, [], {}]


@pytest.mark.parametrize("field", FIELDS)
def test_days_are_whole_and_within_bounds(server: Server, field: str) -> None:
    for value in WRONG:
        answer = server.as_admin.put(RETENTION, json={field: value})
        assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", field]), value
    assert server.as_admin.put(RETENTION, json={"traces_days": 31}).status_code == 422


def test_a_misspelt_field_is_refused_and_leaves_the_rule_as_it_is(server: Server) -> None:
    keep(server, memories_days=7)

    answer = server.as_admin.put(RETENTION, json={"memories_day": 30})

    assert (answer.status_code, answer.json()["detail"][0]["loc"]) == (422, ["body", "memories_day"])
    assert server.as_admin.get(RETENTION).json()["memories_days"] == 7


def test_the_rule_is_set_by_who_may_and_stands_in_the_audit_log(server: Server, as_user: httpx2.Client) -> None:
    keep(server, memories_days=7)
    user = server.client(server.sign_in(server.demo.user_id))
    assert user.put(RETENTION, json={}).status_code == 403
    keep(server)
    line = server.as_admin.get("/audit/", params={"action": "put-retention", "limit": 1}).json()["audit_lines"][0]
    assert line["object"] == {"kind": "organization", "id": server.demo.organization_id}
    assert line["change"]["before"]["retention"]["memories_days"] == 7


async def test_old_lines_of_the_audit_log_go(
    server: Server, storage: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(server)
    key = SecretBox.open(server.settings).derive(AUDIT_LOG)
    await background.purge_audit_logs(storage, key, timedelta(days=1))
    before = await storage.read_snapshot(audit.verify, key, "demo", {})
    assert before.lines
    monkeypatch.setattr(background, "clock", SimpleNamespace(now=_tomorrow))
    await background.purge_audit_logs(storage, key, timedelta())
    assert (await storage.read_snapshot(audit.verify, key, "demo", {})).lines == before.lines

    await background.purge_audit_logs(storage, key, timedelta(hours=1))

    left = await storage.read_snapshot(audit.verify, key, "demo", {before.number: before.digest})
    assert (left.lines, left.number, left.problems) == (0, before.number, ())


def _tomorrow() -> datetime:
    return clock.now() + timedelta(days=1)
