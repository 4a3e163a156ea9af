"""A person's data: exported as a whole, and erased so that nothing of them is found anywhere."""

import asyncio
import io
import json
import secrets
import zipfile
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from starlette.requests import ClientDisconnect
from starlette.types import Message

from operations import BY_ID
from support import jobs, samples
from support.server import Serve, Server
from support.talk import go_on
from support.targets import make_targets, write
from tertulia import clock
from tertulia.api import person as api
from tertulia.auth.places import Places
from tertulia.background import erasing
from tertulia.errors import Unavailable
from tertulia.storage import erasure, person
from tertulia.storage.database.units import open_database
from tertulia.storage.tables import metadata, recordings
from tertulia.storage.turn.parts import insert_parts

pytestmark = pytest.mark.both_databases

WORDS = "My parrot is called Zanzibar."


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve()


@pytest.fixture
def somebody(server: Server) -> dict[str, str]:
    """A person with all that one can have, who was an administrator for a while."""
    name = f"zq{secrets.token_hex(6)}"
    body = {
        **(BY_ID["create-invited-user"].json or {}),
        "first_name": f"Zephyrine{name}",
        "last_name": f"Quillfeather{name}",
        "email": f"{name}@zephyr.example",
        "login_link": "https://app.example/in",
        "sensitive_user_variables": {"pin": f"secret-{name}"},
    }
    user_id = server.as_admin.post("/user/", json=body).raise_for_status().json()["user_id"]
    client = server.client(server.sign_in(user_id))
    targets = make_targets(server, client, user_id)
    go_on(client, targets["conversation_id"], f"{WORDS} {name}")
    server.as_admin.post(f"/user/{user_id}", json={"additional_context": ["Likes tea."]}).raise_for_status()
    assign = {"user_id": user_id}
    server.as_super.post("/role/DefaultAdministratorRole/assign", json=assign).raise_for_status()
    samples.make_agent(client)
    client.post("/tool/", json=samples.tool(f"tool_of_{samples.a_name().split()[-1]}")).raise_for_status()
    server.as_super.post("/role/DefaultUserRole/assign", json=assign).raise_for_status()
    jobs.wait_until_done(server)
    return {**targets, "user_id": user_id, "name": name}


def find(connection: Connection, words: list[str]) -> set[tuple[str, str]]:
    """Look for words in all columns of all tables, in texts, documents and bytes. Return tables and columns."""
    found = set()
    for table in metadata.sorted_tables:
        for row in connection.execute(sa.select(table)).mappings():
            for column, value in row.items():
                told = bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
                found |= {(table.name, str(column)) for word in words if word.encode() in told}
    return found


def look(server: Server, words: list[str]) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    write(server, lambda connection: found.update(find(connection, words)))
    return found | {("file", path.name) for path in files(server.settings.data) if contains(path, words)}


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("tertulia.db")]


def contains(path: Path, words: list[str]) -> bool:
    return any(word.encode() in path.read_bytes() for word in words)


def test_nothing_of_an_erased_person_is_left_in_any_table_or_file(server: Server, somebody: dict[str, str]) -> None:
    user_id = somebody["user_id"]
    words = [user_id, somebody["name"], somebody["conversation_id"], somebody["memory_id"]]
    before = look(server, words)
    assert {table for table, _ in before} >= {
        *("audit_lines", "conversations", "file", "interactions", "memories", "messages", "recordings", "users"),
        *("tools", "traces", "tool_invocations", "temporary_grants", "mail_tokens"),
    }

    answer = server.as_super.delete(f"/user/{user_id}/data")

    assert answer.status_code == 200, answer.text
    proof = answer.json()
    assert look(server, words) == set()
    assert proof["is_complete"]
    assert proof["erased"]["messages"] >= 3
    assert proof["erased"]["recordings"] >= 1
    assert proof["erased"]["recording_bytes"] > 0
    assert proof["erased"]["mails"] == 1
    assert proof["erased"]["audit_lines"] >= 5
    (line,) = server.as_super.get("/audit/", params={"number": proof["audit_line"]}).json()["audit_lines"]
    assert line["object"] == {"kind": "user", "id": proof["person"]}
    assert line["actor"]["user_id"] == server.demo.super_user_id
    assert line["change"] == {"erased": proof["erased"], "digest": proof["digest"]}
    checked = server.as_super.get("/audit/verification").json()
    assert (checked["problems"], checked["erased"] >= 5) == ([], True)
    assert server.as_super.delete(f"/user/{user_id}/data").status_code == 404


def test_what_an_erased_person_did_stays_as_somebodys(server: Server, somebody: dict[str, str]) -> None:
    proof = server.as_super.delete(f"/user/{somebody['user_id']}/data").raise_for_status().json()

    theirs = server.as_super.get("/audit/", params={"actor_user_id": proof["person"]}).json()["audit_lines"]

    assert {line["action"] for line in theirs} >= {"create-agent", "create-tool"}
    assert all(line["is_erased"] and line["address"] == "" for line in theirs)


def test_an_erasure_that_was_broken_off_is_proven_by_its_job(
    server: Server, somebody: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prove = erasing.Eraser._prove

    def breaks_off(*_: object) -> None:
        raise Unavailable("The database cannot be reached.")

    monkeypatch.setattr(erasing.Eraser, "_prove", breaks_off)
    begun = server.as_super.delete(f"/user/{somebody['user_id']}/data").raise_for_status().json()
    assert (begun["is_complete"], begun["audit_line"]) == (False, None)
    monkeypatch.setattr(erasing.Eraser, "_prove", prove)

    jobs.make_due(server)
    jobs.wait_until_done(server)

    (line, *_) = server.as_super.get("/audit/", params={"action": "erase-user"}).json()["audit_lines"]
    assert line["change"]["erased"]["messages"] == begun["erased"]["messages"]
    assert ("conversations", "user_id") not in look(server, [somebody["user_id"]])


def test_who_may_not_delete_a_user_erases_nobody(server: Server, somebody: dict[str, str]) -> None:
    user_id = somebody["user_id"]
    assert server.as_user.delete(f"/user/{user_id}/data").status_code == 403
    assert server.as_admin.delete(f"/user/{server.demo.super_user_id}/data").status_code == 403
    assert server.as_admin.get("/user/", params={"user_id": user_id}).json()["users"]


# --- Export ----------------------------------------------------------------------------------------------------------


def exported(client: httpx2.Client, user_id: str) -> zipfile.ZipFile:
    answer = client.get(f"/user/{user_id}/export")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    archive = zipfile.ZipFile(io.BytesIO(answer.content))
    assert archive.testzip() is None
    return archive


def lines(archive: zipfile.ZipFile, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in archive.read(f"{name}.jsonl").splitlines()]


def test_long_messages_are_read_a_few_at_a_time(server: Server, somebody: dict[str, str]) -> None:
    client = server.client(server.sign_in(somebody["user_id"]))
    for _ in range(6):
        go_on(client, somebody["conversation_id"], "x" * 99_000)
    write(server, _in_portions, server.demo.organization_id, somebody)


def _in_portions(connection: Connection, org_id: str, whose: dict[str, str]) -> None:
    (part,) = (each for each in person.PARTS if each.table.name == "messages")
    portions = person.list_portions(connection, part, org_id, whose["user_id"], [whose["conversation_id"]], "")
    read = [person.list_rows_of(connection, part, org_id, keys) for keys in portions]
    said = [[len(row["content"]) for row in rows] for rows in read]
    assert sum(map(sum, said)) > 2 * person.PORTION_CHARACTERS
    assert all(len(each) == 1 or sum(each) <= person.PORTION_CHARACTERS for each in said)
    keys = [row["id"] for rows in read for row in rows]
    assert keys == sorted(keys) == [key for some in portions for key in some]


def test_a_person_gets_all_that_there_is_of_them(
    server: Server, somebody: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(person, "PORTION", 1)
    client = server.client(server.sign_in(somebody["user_id"]))

    archive = exported(client, somebody["user_id"])

    (user,) = lines(archive, "users")
    assert user["email"] == f"{somebody['name']}@zephyr.example"
    listed = client.get(
        f"/conversation/{somebody['conversation_id']}/messages/", params={"sort_by": "+created_at"}
    ).json()["messages"]
    told = sorted(lines(archive, "messages"), key=lambda row: row["created_at"])
    assert [row["content"] for row in told if row["message_type"] != "agent-inner-thought"] == [
        message["message"] for message in listed
    ]
    assert all(row["insights"]["current_state_name"] for row in lines(archive, "interactions"))
    assert [row["content"] for row in lines(archive, "memories")] == ["I live in Berlin."]
    assert len(lines(archive, "tool_invocations")) == 1
    sound = [name for name in archive.namelist() if name.startswith("recordings/")]
    assert [Path(name).stem for name in sound] == [row["message_id"] for row in lines(archive, "recordings")]
    assert archive.read(sound[0])[:4] == b"RIFF"
    assert f"secret-{somebody['name']}".encode() not in b"".join(map(archive.read, archive.namelist()))
    (line, *_) = server.as_super.get("/audit/", params={"object_id": somebody["user_id"]}).json()["audit_lines"]
    assert (line["action"], line["actor"]["user_id"]) == ("export-user", somebody["user_id"])


def test_nobody_exports_another_person_without_the_permission(server: Server, somebody: dict[str, str]) -> None:
    path = f"/user/{somebody['user_id']}/export"
    assert server.as_user.get(path).status_code == 403
    assert server.as_admin.get(path).status_code == 403
    assert exported(server.as_super, somebody["user_id"]).namelist()


@pytest.fixture
def long_recording(server: Server, somebody: dict[str, str]) -> Iterator[int]:
    """A recording of twenty megabytes; its size."""
    size = 20 << 20

    def insert(connection: Connection) -> None:
        row = {
            "org_id": "demo",
            "message_id": "f" * 24,
            "conversation_id": somebody["conversation_id"],
            "content_type": "audio/wav",
            "size": size,
            "body": b"",
            "created_at": clock.now(),
        }
        connection.execute(sa.insert(recordings), row)
        insert_parts(connection, "demo", "f" * 24, b"\xa5" * size)

    write(server, insert)
    yield size
    write(server, lambda connection: erasure.delete_recordings(connection, ["f" * 24]))


def test_an_export_holds_one_portion_in_memory(server: Server, somebody: dict[str, str], long_recording: int) -> None:
    database = open_database(server.settings.cluster_urls["default"], 2)

    export = api._Export(database, "demo", somebody["user_id"], Places(2))

    async def read() -> list[int]:
        return [len(chunk) async for chunk in api._zip(export)]

    sizes = asyncio.run(read())
    database.close()

    assert sum(sizes) > long_recording
    assert max(sizes) < 2 * api.SOUND_BYTES


def test_the_tables_of_a_person_are_all_that_name_one() -> None:
    """Whoever adds a table with a user or a conversation has to say what becomes of it."""
    known = {part.table.name for part in person.PARTS} | {table.name for table, _ in person._UNEXPORTED}
    naming = {
        table.name
        for table in metadata.sorted_tables
        if {"user_id", "conversation_id"} & set(table.c.keys()) or table.name == "users"
    }
    assert naming <= known


async def test_an_export_whose_reader_has_left_is_closed_and_gives_its_place_back() -> None:
    ends: list[str] = []

    async def content() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield b"portion"
        finally:
            ends.append("content")

    @contextmanager
    def place() -> Generator[None]:
        try:
            yield
        finally:
            ends.append("place")

    async def leave(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise OSError

    async def wait() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("nobody sends anything")

    with pytest.raises(ClientDisconnect):
        await api.PlacedArchive(content(), place())({"type": "http", "asgi": {"spec_version": "2.4"}}, wait, leave)
    assert ends == ["content", "place"]
