"""The audit log: each change leaves one line, in its own transaction, without secrets, chained to the line before."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from operations import BY_ID, OPERATIONS, Operation, Targets
from support import samples
from support.server import Server
from support.targets import invite, make_targets, write
from tertulia import clock
from tertulia.api.http.audit import UNAUDITED
from tertulia.auth.secrets import AUDIT_LOG, SecretBox
from tertulia.ids import new_id
from tertulia.storage import audit
from tertulia.storage.database import dialect
from tertulia.storage.database.units import open_database
from tertulia.storage.tables import audit_heads, audit_lines

CHANGES = tuple(each for each in OPERATIONS if each.method != "GET" and each.id not in UNAUDITED)
EXAMPLES = tuple(
    each for each in CHANGES if each.id not in {"create-organization", "delete-organization", "erase-user"}
)
"""The changes whose example leaves a line that names its object; the others have tests of their own."""

OBJECTS = {
    "create-tool": ("tool", None),
    "modify-tool": ("tool", "tool_id"),
    "create-invited-user": ("user", None),
    "update-user-info": ("user", "requested_user_id"),
    "delete-user": ("user", "requested_user_id"),
    "forget-memory": ("memory", "memory_id"),
    "forget-memories": ("user", "user_id"),
    "modify-role": ("role", "role_name"),
    "create-temporary-permission-grant": ("temporary_permission_grant", None),
    "modify-organization": ("organization", None),
    "delete-api-key": ("api_key", "api_key_id"),
    "sign-in-with-mail-token": ("user", "user_id"),
    "modify-tags-of-conversation": ("conversation", "conversation_id"),
    "create-dynamic-behavior-set": ("dynamic_behavior_set", None),
    "create-agent-version": ("agent", "agent_id"),
}
"""The objects of some operations: a kind, and the target that is named, if the id is not a new one."""


def newest(server: Server, **filters: Any) -> list[dict[str, Any]]:
    answer = server.as_super.get("/audit/", params={"limit": 100, **filters})
    assert answer.status_code == 200, answer.text
    return list(answer.json()["audit_lines"])


def verification(server: Server) -> dict[str, Any]:
    return dict(server.as_super.get("/audit/verification").raise_for_status().json())


def test_every_operation_that_changes_something_leaves_one_line(tertulia: Server) -> None:
    changed, deleted = (make_targets(tertulia, tertulia.as_admin) for _ in range(2))
    answers: dict[str, httpx2.Response] = {}
    for operation in sorted(EXAMPLES, key=lambda each: (each.method == "DELETE", each.id == "delete-user")):
        targets = deleted if operation.method == "DELETE" else changed
        if operation.id.startswith("publish"):
            targets = {**targets, "tool_id": a_tool(tertulia)}
        answers[operation.id] = answer = operation.ask(operation.by(tertulia), targets)
        assert answer.status_code == operation.success, answer.text
    of_them = {each.headers["x-request-id"] for each in answers.values()}
    lines = [line for line in newest(tertulia)[::-1] if line["request_id"] in of_them]

    assert [line["action"] for line in lines] == list(answers)
    assert [line["request_id"] for line in lines] == [each.headers["x-request-id"] for each in answers.values()]
    assert {line["address"] for line in lines} == {"127.0.0.1"}
    for line in lines:
        least = BY_ID[line["action"]].least
        targets = deleted if BY_ID[line["action"]].method == "DELETE" else changed
        user, key = tertulia.demo.admin_user_id, tertulia.demo.api_key_id
        if least not in {"administrator", "user"}:
            user, key = tertulia.demo.super_user_id if least == "super" else targets["user_id"], None
        assert line["actor"] == {"org_id": tertulia.demo.organization_id, "user_id": user, "api_key_id": key}
        kind, named = OBJECTS.get(line["action"], (line["object"]["kind"], None))
        assert line["object"] == {"kind": kind, "id": targets[named] if named else line["object"]["id"]}
        assert all((kind, line["object"]["id"], line["change"].get("request"))), line
    assert verification(tertulia)["problems"] == []


def a_tool(server: Server) -> str:
    body = samples.tool(samples.a_name().lower().replace(" ", "_"))
    made = str(server.as_admin.post("/tool/", json=body).raise_for_status().json()["id"])
    publish = BY_ID["publish-tool-archive"]
    publish.ask(server.as_admin, {"tool_id": made}, params={"bump_type": "major"}).raise_for_status()
    return made


def test_what_is_refused_leaves_no_line(tertulia: Server, as_user: httpx2.Client) -> None:
    before = verification(tertulia)["number"]
    for operation in CHANGES:
        assert operation.ask(as_user, _nothing(operation)).status_code >= 400, operation.id

    assert verification(tertulia)["number"] == before


def _nothing(operation: Operation) -> Targets:
    names = ("user_id", "email", "mail_token", "agent_id", "state_machine_id", "service_id", "api_key", "demo_key_id")
    return dict.fromkeys((*operation.parameters, *names), "0" * 24)


def test_a_line_tells_a_field_as_it_was_and_as_it_is(tertulia: Server, as_admin: httpx2.Client) -> None:
    user_id = invite(as_admin)
    as_admin.post(f"/user/{user_id}", json={"first_name": "Grace"}).raise_for_status()

    (line, created) = newest(tertulia, object_id=user_id)

    assert line["change"]["before"] == {"first_name": "Target"}
    assert line["change"]["after"] == {"first_name": "Grace"}
    assert created["action"] == "create-invited-user"
    assert created["change"]["after"]["last_name"] == "Guest"


SECRET = "s3cr3t-of-mine-0123456789"


def test_no_secret_stands_in_a_line(tertulia: Server, as_admin: httpx2.Client, as_super: httpx2.Client) -> None:
    invited = {
        **(BY_ID["create-invited-user"].json or {}),
        "first_name": "A",
        "email": "secretive@example.com",
        "login_link": f"https://user:{SECRET}@app.example/in?code={SECRET}#{SECRET}",
        "sensitive_user_variables": {"pin": SECRET},
    }
    user_id = as_admin.post("/user/", json=invited).raise_for_status().json()["user_id"]
    variables = {"upserts": [{"name": "city_code", "value": SECRET, "is_secret": True}]}
    as_admin.post(f"/user/{user_id}/variable", json=variables).raise_for_status()
    tool = as_admin.post("/tool/", json=samples.tool("keeper")).raise_for_status().json()["id"]
    inserts = [{"name": "K", "value": SECRET, "is_secret": True}]
    as_admin.post(f"/tool/{tool}/envvar", json={"inserts": inserts}).raise_for_status()
    updates = [{"name": "K", "value": SECRET}]
    as_admin.post(f"/tool/{tool}/envvar", json={"updates": updates}).raise_for_status()
    definition = {"url": f"https://api.example/now?key={SECRET}", "headers": {"X-Custom": SECRET}}
    version = {"definition": definition, "input_schema": {"type": "object"}, "bump_type": "minor"}
    as_admin.post(f"/tool/{tool}/version/http", json=version)
    key = as_super.post("/organization/api_key/", json={"name": "K", "duration": "P1D"}).raise_for_status().json()

    told = json.dumps(newest(tertulia))

    assert SECRET not in told
    assert key["api_key"] not in told
    assert key["api_key_id"] in told
    assert '"city_code"' in told
    write(tertulia, _nowhere, SECRET)


def _nowhere(connection: Connection, secret: str) -> None:
    found = connection.execute(sa.select(audit_lines)).all()
    assert found
    assert not any(secret in str(value) for row in found for value in row)


def test_who_speaks_in_another_persons_conversation_is_named_and_audited(
    tertulia: Server, as_user: httpx2.Client, as_admin: httpx2.Client
) -> None:
    service = {"service_id": tertulia.demo.service_id}
    created = as_user.post("/conversation/", params={"response_format": "text"}, json=service)
    conversation_id = created.headers["x-tertulia-conversation-id"]
    path = f"/conversation/{conversation_id}"
    before = verification(tertulia)["number"]
    say(as_user, path)
    assert verification(tertulia)["number"] == before
    say(as_admin, path)
    as_admin.post(f"{path}/finish/").raise_for_status()

    finished, spoken = newest(tertulia, object_id=conversation_id)

    assert [finished["action"], spoken["action"]] == ["finish-conversation", "interact-with-conversation"]
    assert {line["actor"]["user_id"] for line in (finished, spoken)} == {tertulia.demo.admin_user_id}
    assert spoken["change"] == {"request": {"user_id": tertulia.demo.user_id}}
    messages = as_user.get(f"{path}/messages/", params={"message_type": "user-message", "sort_by": "+created_at"})
    senders = [message["sender"] for message in messages.json()["messages"]]
    assert len(senders) == 2
    assert senders[0] == "Demo User"
    assert senders[1] == "Demo Administrator"


def test_a_sign_in_with_an_api_key_leaves_a_line_and_a_refused_one_none(tertulia: Server) -> None:
    demo = tertulia.demo
    sign_in = {"x-api-key": demo.api_key, "x-api-key-id": demo.api_key_id, "x-user-id": demo.user_id}
    before = verification(tertulia)["number"]
    for key in (demo.api_key, "wrong"):
        tertulia.anonymous.post("/user/signin_with_api_key", headers={**sign_in, "x-api-key": key})

    line = newest(tertulia, action="sign-in-with-api-key", object_id=demo.user_id)[0]
    assert (line["actor"]["user_id"], line["actor"]["api_key_id"]) == (demo.user_id, demo.api_key_id)
    assert line["address"] == "127.0.0.1"
    assert verification(tertulia)["number"] == before + 1


def test_the_tags_of_a_hidden_conversation_are_not_told_to_those_who_read_the_log(tertulia: Server) -> None:
    values: dict[bool, str] = {}
    for is_visible in (True, False):
        user_id = invite(tertulia.as_super)
        preferences = {"conversations_visible_to_admins": is_visible}
        tertulia.as_super.post(f"/user/{user_id}", json=preferences).raise_for_status()
        client = tertulia.client(tertulia.sign_in(user_id))
        stream = client.post(
            "/conversation/", params={"response_format": "text"}, json={"service_id": tertulia.demo.service_id}
        )
        conversation_id = stream.headers["x-tertulia-conversation-id"]
        tags = {"updates": {"ward": "oncology"}, "deletes": []}
        client.post(f"/conversation/{conversation_id}/tags/", json=tags).raise_for_status()
        (line,) = newest(tertulia, object_id=conversation_id)
        values[is_visible] = json.dumps(line["change"])

    assert values[True].count("oncology") == 2
    assert "oncology" not in values[False]
    assert values[False].count("***") == 2


def say(client: httpx2.Client, path: str) -> None:
    query = {"request_format": "text", "response_format": "text"}
    form = {"initial_message_type": (None, "user-message"), "recorded_message": ("m.txt", b"Hello.", "text/plain")}
    stream = client.post(f"{path}/interact", params=query, files=form).raise_for_status()
    assert '"interaction-complete"' in stream.text.splitlines()[-1]


def test_a_new_organization_begins_with_the_line_of_its_making(tertulia: Server, as_super: httpx2.Client) -> None:
    org_id = samples.a_name().replace(" ", "-")
    body = {**(BY_ID["create-organization"].json or {}), "org_name": "Another"}
    made = as_super.put(
        f"{tertulia.url}/v1/{org_id}/organization/", headers={"x-mongo-cluster-name": "default"}, json=body
    )
    assert made.status_code == 201, made.text
    write(tertulia, _began, org_id, tertulia.demo)


def _began(connection: Connection, org_id: str, demo: Any) -> None:
    (line,) = audit.list_after(connection, org_id, 0)
    assert (line.number, line.action, line.object_kind, line.object_id) == (
        1,
        "create-organization",
        "organization",
        org_id,
    )
    assert (line.actor_org_id, line.actor_user_id) == (demo.organization_id, demo.super_user_id)


FILTERS = {
    "actor_user_id": lambda line: line["actor"]["user_id"],
    "object_kind": lambda line: line["object"]["kind"],
    "object_id": lambda line: line["object"]["id"],
    "action": lambda line: line["action"],
    "number": lambda line: line["number"],
}


def test_a_filter_lists_the_lines_that_it_names_and_pages_do_not_overlap(
    tertulia: Server, as_admin: httpx2.Client
) -> None:
    for _ in range(3):
        invite(as_admin)
        samples.make_agent(as_admin)
    everything = newest(tertulia)
    for name, value_of in FILTERS.items():
        value = value_of(everything[1])
        wanted = [line["number"] for line in everything if value_of(line) == value]
        assert [line["number"] for line in newest(tertulia, **{name: value})][: len(wanted)] == wanted
    moment = everything[2]["at"]
    assert newest(tertulia, since=moment)[-1]["number"] == everything[2]["number"]
    assert newest(tertulia, until=moment)[0]["number"] == everything[3]["number"]
    first = as_admin.get("/audit/", params={"limit": 2, "sort_by": "+at"}).json()
    second = as_admin.get(
        "/audit/", params={"limit": 2, "sort_by": "+at", "continuation_token": first["continuation_token"]}
    ).json()
    assert [line["number"] for page in (first, second) for line in page["audit_lines"]] == [1, 2, 3, 4]


def _alter(connection: Connection, org_id: str, **values: Any) -> None:
    mine = sa.and_(audit_lines.c.org_id == org_id, audit_lines.c.number == 5)
    connection.execute(sa.update(audit_lines).where(mine).values(**values))


def _remove(connection: Connection, org_id: str, which: sa.ColumnElement[bool]) -> None:
    connection.execute(sa.delete(audit_lines).where(audit_lines.c.org_id == org_id, which))


def _remove_as_if_old(connection: Connection, org_id: str) -> None:
    third = audit.list_after(connection, org_id, 2)[0].digest
    _remove(connection, org_id, audit_lines.c.number <= 3)
    base = {"base_number": 3, "base_digest": third}
    connection.execute(sa.update(audit_heads).where(audit_heads.c.org_id == org_id).values(**base))


def _remove_head(connection: Connection, org_id: str) -> None:
    _remove(connection, org_id, audit_lines.c.number > 6)
    connection.execute(sa.delete(audit_heads).where(audit_heads.c.org_id == org_id))


def _have_purged(connection: Connection, org_id: str) -> None:
    _alter(connection, org_id, at=clock.EPOCH)
    audit.purge_lines(connection, KEY, org_id, clock.EPOCH + timedelta(days=1))
    assert audit.list_after(connection, org_id, 0)[0].number == 1


def _have_erased(connection: Connection, org_id: str) -> None:
    _alter(connection, org_id, address="10.0.0.1", object_id="somebody")
    assert audit.erase_content(connection, KEY, org_id, audit.ErasedPerson("somebody", []), 0) == (1, 8)


TAMPERED = {
    "another actor": (partial(_alter, actor_user_id="nobody"), "the content of line 5"),
    "another change": (partial(_alter, change="{}"), "the content of line 5"),
    "another address": (partial(_alter, address="10.0.0.1"), "the content of line 5"),
    "another action": (partial(_alter, action="get-users"), "line 5 was altered"),
    "another time": (partial(_alter, at=clock.EPOCH), "line 5 was altered"),
    "said to be erased": (partial(_alter, change="{}", erased_digest="0" * 64), "the content of line 5"),
    "a removed line": (partial(_remove, which=audit_lines.c.number == 5), "lines 5 to 5 are missing"),
    "the last lines": (partial(_remove, which=audit_lines.c.number > 6), "the log ends at line 6"),
    "the last lines, with the head": (_remove_head, "the head of the log is missing"),
    "a line made old, to be removed by the server": (_have_purged, "line 5 was altered"),
    "a line that an erasure seals": (_have_erased, "the content of line 5"),
    "the first lines": (_remove_as_if_old, "were not removed by the server"),
}
KEY = b"k" * 32


@pytest.fixture
def log(database_url: str) -> Iterator[tuple[Connection, str]]:
    """A connection, and an organization whose log has eight lines."""
    engine = dialect.create_engine(database_url, 1)
    org_id = new_id()
    with engine.begin() as connection:
        for number in range(8):
            audit.append_line(connection, KEY, entry(org_id, number))
        assert audit.verify(connection, KEY, org_id, {}).problems == ()
        yield connection, org_id
    engine.dispose()


def entry(org_id: str, number: int) -> audit.AuditEntry:
    change = f'{{"n":{number}}}'
    return audit.AuditEntry(org_id, "create-tool", "tool", "t", org_id, "u", "", "127.0.0.1", "r", change)


@pytest.mark.both_databases
@pytest.mark.parametrize("kind", TAMPERED)
def test_whoever_alters_the_log_is_found_out(log: tuple[Connection, str], kind: str) -> None:
    connection, org_id = log
    alter, problem = TAMPERED[kind]
    alter(connection, org_id)

    found = audit.verify(connection, KEY, org_id, {})

    assert [problem in each for each in found.problems] == [True]


@pytest.mark.both_databases
def test_an_email_is_erased_however_it_was_written(log: tuple[Connection, str]) -> None:
    connection, org_id = log
    change = '{"request":{"body":{"text":"Ask Ada@Example.COM"}}}'
    audit.append_line(connection, KEY, replace(entry(org_id, 9), change=change))

    assert audit.erase_content(connection, KEY, org_id, audit.ErasedPerson("0" * 24, ["ada@example.com"]), 0) == (1, 9)
    assert audit.list_after(connection, org_id, 8)[0].change == "{}"


@pytest.mark.both_databases
def test_only_the_key_makes_a_log(log: tuple[Connection, str]) -> None:
    connection, org_id = log
    assert len(audit.verify(connection, b"x" * 32, org_id, {}).problems) > 8


@pytest.mark.both_databases
def test_old_lines_go_and_the_rest_can_be_verified(log: tuple[Connection, str]) -> None:
    connection, org_id = log
    lines = audit.list_after(connection, org_id, 0)
    audit.purge_lines(connection, KEY, org_id, lines[3].at)
    noted = {line.number: line.digest for line in lines}

    left = audit.verify(connection, KEY, org_id, noted)
    assert (left.lines, left.number, left.problems) == (5, 8, ())
    assert len(audit.verify(connection, KEY, org_id, {8: "0" * 64, 9: "0" * 64}).problems) == 2

    audit.purge_lines(connection, KEY, org_id, clock.now() + timedelta(seconds=1))
    assert audit.append_line(connection, KEY, entry(org_id, 8)).number == 9
    assert audit.verify(connection, KEY, org_id, {}).problems == ()


@pytest.mark.both_databases
def test_many_who_write_at_once_make_one_chain(database_url: str) -> None:
    database = open_database(database_url, 8)
    org_id = new_id()

    async def write_all() -> audit.Verified:
        entries = [entry(org_id, number) for number in range(40)]
        await asyncio.gather(*(database.write(audit.append_line, KEY, each) for each in entries))
        return await database.read_snapshot(audit.verify, KEY, org_id, {})

    found = asyncio.run(write_all())
    database.close()

    assert (found.lines, found.number, found.problems) == (40, 40, ())


def test_the_key_of_the_chain_is_not_that_of_secrets(tertulia: Server) -> None:
    box = SecretBox.open(tertulia.settings)
    assert box.derive(AUDIT_LOG) != box.derive("relay")
