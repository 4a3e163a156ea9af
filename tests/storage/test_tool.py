"""The toolbox of a turn over storage: the version that fits, the variables of the moment, and the record."""

import asyncio
import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia.auth import roles
from tertulia.background import leftovers
from tertulia.background.sweeper import purge
from tertulia.engine.agent.toolbox import CallPlace
from tertulia.engine.graph.context_graph import ToolCallSpec
from tertulia.engine.toolbox import Tools
from tertulia.errors import ToolMissing
from tertulia.ids import new_id
from tertulia.storage import organization, tool_invocation, user
from tertulia.storage import tool as tools
from tertulia.storage import tool_version as tool_versions
from tertulia.storage.conversation import UserProfile
from tertulia.storage.database.units import Database
from tertulia.storage.tables import tool_invocations
from tertulia.storage.tool import Tool, Variable, VariableChanges
from tertulia.storage.tool_version import Numbers, VersionBody
from tertulia.storage.turn.values import Claim
from tertulia.storage.user import NewUser
from tertulia.storage.versioned import Author
from tertulia.tools.values import ToolCall, ToolFailed, ToolOutcome, ToolProgram, ToolSucceeded

pytestmark = pytest.mark.both_databases

PLACE = CallPlace("state-transition", ("graph", 3), "ask", round_index=2, transition_index=4)


class Runner:
    """A runner that answers as it is told, and remembers what it was called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[ToolProgram, ToolCall]] = []
        self.outcome: ToolOutcome = ToolSucceeded("fine", 7)
        self.called = asyncio.Event()
        self.hangs = False

    async def call(self, program: ToolProgram, call: ToolCall) -> ToolOutcome:
        self.calls.append((program, call))
        self.called.set()
        if self.hangs:
            await asyncio.Event().wait()
        return self.outcome

    async def aclose(self) -> None:
        """Stop nothing."""


class Plain:
    """A box whose secrets are written backwards."""

    def decrypt(self, encrypted: str) -> str:
        return encrypted[::-1]


def a_body(**fields: Any) -> VersionBody:
    content: dict[str, Any] = {
        "kind": "code",
        "definition": {"confirm": True},
        "input_schema": {"type": "object"},
        "required_envvars": ["REGION"],
        "required_secret_envvars": [],
        "commit_hash": "hash",
        "snapshot": b"archive",
    }
    return VersionBody(**{**content, **fields})


@pytest.fixture
def org() -> str:
    """An organization that nobody else has."""
    return new_id()


def author(org: str) -> Author:
    return Author(org, "author")


def make_user(connection: Connection, org: str) -> str:
    ids = roles.insert_builtin(connection, org)
    preferences = organization.DEFAULT_PREFERENCES
    person = NewUser(ids[roles.USER], "A", "B", "a@example.com", preferences, {"city": "Rome"}, {"card": "4321"})
    return user.insert_user(connection, org, person)


def make_tool(connection: Connection, org: str, *versions: Numbers) -> Tool:
    tool = tools.insert_tool(connection, author(org), "tool", "A tool.", {})
    variables = [Variable(tool.id, name, value, is_secret=False) for name, value in (("REGION", "ue"), ("OTHER", "x"))]
    tools.change_variables(connection, tool, author(org), VariableChanges(variables, {}, []))
    for numbers in versions:
        current = tools.get_tool(connection, org, tool.id)
        tool_versions.insert_version(connection, current, numbers, a_body(), author(org))
    return tool


def a_claim(org: str, user_id: str) -> Claim:
    return Claim(
        org_id=org,
        user_id=user_id,
        conversation_id="conversation",
        service_id="service",
        interaction_id="interaction",
        lease_token=1,
        agent=("agent", 1),
        graph=("graph", 3),
        llm_model_preferences={},
        position=None,
        returning=False,
        profile=UserProfile("A", "B", {}, []),
        attributes={},
        num_interactions=0,
        last_message_time=None,
        behaviors_revision=0,
    )


def a_spec(tool_id: str, constraint: str) -> ToolCallSpec:
    return ToolCallSpec(
        tool_id=tool_id,
        version_constraint=constraint,
        additional_instruction="Call it.",
        audio_fillers=[],
        audio_filler_triggered_after=1,
        result_persistence="persisted",
    )


def recorded(connection: Connection, org: str) -> list[Mapping[str, Any]]:
    query = tool_invocations.select().where(tool_invocations.c.org_id == org)
    return [dict(row) for row in connection.execute(query).mappings()]


async def test_the_greatest_version_in_use_that_fits_is_chosen(database: Database, org: str) -> None:
    tool = await database.write(make_tool, org, (1, 9, 0), (1, 10, 0), (2, 0, 0))
    box = Tools({}, Plain()).of(database, a_claim(org, "nobody"))

    async def chosen(constraint: str) -> str:
        return (await box.find(a_spec(tool.id, constraint))).version

    assert (await chosen(""), await chosen("<2"), await chosen("==1.9.*")) == ("2.0.0", "1.10.0", "1.9.0")
    found = await box.find(a_spec(tool.id, ""))
    assert (found.name, found.description, found.needs_confirmation) == ("tool", "A tool.", True)

    await database.write(tool_versions.deprecate_versions, tool, [(2, 0, 0), (1, 10, 0)], author(org))
    assert await chosen("") == "1.9.0"
    for tool_id, constraint in ((tool.id, ">=2"), ("0" * 24, "")):
        with pytest.raises(ToolMissing):
            await box.find(a_spec(tool_id, constraint))
    await database.write(tools.deprecate_tool, tool, author(org))
    with pytest.raises(ToolMissing):
        await box.find(a_spec(tool.id, ""))


async def test_a_call_is_given_what_there_is_at_its_moment_and_is_on_record(database: Database, org: str) -> None:
    user_id = await database.write(make_user, org)
    tool = await database.write(make_tool, org, (1, 0, 0))
    runner = Runner()
    box = Tools({"code": runner}, Plain()).of(database, a_claim(org, user_id))
    found = await box.find(a_spec(tool.id, ""))
    person = await database.read(user.get_user, org, user_id)
    await database.write(user.change_variables, person, user.VariableChanges({"city": "Oslo"}, {}, []))

    runner.outcome = ToolSucceeded("a\0b\ud800", 7)
    outcome = await box.call(found, {"say": "x\0"}, PLACE, "key")
    runner.outcome = ToolFailed("ValueError", "No.", ("tool.py, line 1",), 9)
    await box.call(found, {}, PLACE, "key")

    program, call = runner.calls[0]
    assert (program.version, program.digest) == ("1.0.0", tool_versions.digest_of(b"archive"))
    assert (call.environment, call.key, call.mode) == ({"REGION": "eu"}, "key", "regular")
    assert call.user_variables == {"city": "Oslo", "user_id": user_id}
    assert call.secret_user_variables == {"card": "1234"}
    assert outcome == ToolSucceeded("a\ufffdb\ufffd", 7)
    records = await database.read(recorded, org)
    good = next(record for record in records if record["succeeded"])
    bad = next(record for record in records if not record["succeeded"])
    assert (good["output"], good["inputs"], good["duration_ms"]) == ("a\ufffdb\ufffd", {"say": "x\ufffd"}, 7)
    assert (bad["exception_type"], bad["exception_stack_trace"]) == ("ValueError", ["tool.py, line 1"])
    assert good["place"] == {
        "type": "state-transition",
        "current_state_machine_and_version": ["graph", 3],
        "state_name": "ask",
        "state_transition_index": 4,
        "tool_call_round_index": 2,
    }


async def test_a_search_reads_the_texts_of_all_calls_the_newest_first(
    database: Database, org: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_invocation, "_PORTION", 2)
    user_id = await database.write(make_user, org)
    tool = await database.write(make_tool, org, (1, 0, 0))
    runner = Runner()
    box = Tools({"code": runner}, Plain()).of(database, a_claim(org, user_id))
    found = await box.find(a_spec(tool.id, ""))
    for number in range(5):
        runner.outcome = ToolSucceeded(f"output {number}", 7)
        await box.call(found, {}, PLACE, f"key {number}")

    fields, narrow = ["invocation_status.output"], tool_invocation.ToolInvocationFilter()
    walked = await database.read(
        lambda connection: list(tool_invocation.walk_texts(connection, org, sa.true(), narrow, fields))
    )

    assert [text for _, text in walked] == [f"output {number}" for number in reversed(range(5))]


async def test_a_call_that_is_stopped_is_on_record(database: Database, org: str) -> None:
    user_id = await database.write(make_user, org)
    tool = await database.write(make_tool, org, (1, 0, 0))
    runner = Runner()
    runner.hangs = True
    box = Tools({"code": runner}, Plain()).of(database, a_claim(org, user_id))

    running = asyncio.create_task(box.call(await box.find(a_spec(tool.id, "")), {"say": "x"}, PLACE, "key"))
    await runner.called.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    (record,) = await database.read(recorded, org)
    assert (record["succeeded"], record["exception_type"], record["inputs"]) == (False, "ToolStopped", {"say": "x"})


async def test_a_call_is_on_record_before_it_is_made_and_its_retry_knows(database: Database, org: str) -> None:
    user_id = await database.write(make_user, org)
    tool = await database.write(make_tool, org, (1, 0, 0))
    runner = Runner()
    runner.hangs = True
    box = Tools({"code": runner}, Plain()).of(database, a_claim(org, user_id))
    found = await box.find(a_spec(tool.id, ""))

    running = asyncio.create_task(box.call(found, {"say": "x"}, PLACE, "key"))
    await runner.called.wait()
    (begun,) = await database.read(recorded, org)
    assert (begun["exception_type"], begun["is_over"], begun["inputs"]) == ("ToolInterrupted", False, {"say": "x"})
    runner.hangs = False
    await box.call(found, {"say": "x"}, PLACE, "key")
    await box.call(found, {"say": "x"}, PLACE, "other key")
    running.cancel()
    await asyncio.wait([running])

    assert [(call.key, call.attempt) for _, call in runner.calls] == [("key", 1), ("key", 2), ("other key", 1)]
    assert all(record["is_over"] for record in await database.read(recorded, org))


async def test_a_call_that_breaks_in_the_server_is_on_record_as_a_failure(database: Database, org: str) -> None:
    user_id = await database.write(make_user, org)
    tool = await database.write(make_tool, org, (1, 0, 0))
    runner = Runner()
    box = Tools({"code": runner}, Plain()).of(database, a_claim(org, user_id))
    found = await box.find(a_spec(tool.id, ""))

    runner.outcome = cast("ToolOutcome", None)
    with pytest.raises(AttributeError):
        await box.call(found, {}, PLACE, "key")
    await database.write(tools.deprecate_tool, tool, author(org))
    with pytest.raises(ToolMissing):
        await box.call(found, {}, PLACE, "key")

    (record,) = await database.read(recorded, org)
    assert (record["exception_type"], record["is_over"]) == ("InternalError", True)


async def test_a_kind_that_this_server_does_not_run_is_a_failure_of_the_tool(database: Database, org: str) -> None:
    user_id = await database.write(make_user, org)
    tool = await database.write(make_tool, org, (1, 0, 0))
    box = Tools({}, Plain()).of(database, a_claim(org, user_id))

    outcome = await box.call(await box.find(a_spec(tool.id, "")), {}, PLACE, "key")

    assert isinstance(outcome, ToolFailed)
    assert outcome.exception_type == "ToolUnavailable"


async def test_old_calls_and_code_of_no_use_go_and_what_is_in_use_stays(
    database: Database, org: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool_invocation, "PURGED_AT_ONCE", 2)
    user_id = await database.write(make_user, org)
    tool = await database.write(make_tool, org, (1, 0, 0))
    box = Tools({"code": Runner()}, Plain()).of(database, a_claim(org, user_id))
    found = await box.find(a_spec(tool.id, ""))
    for number in range(5):
        await box.call(found, {}, PLACE, f"key {number}")
    current = await database.read(tools.get_tool, org, tool.id)
    code = f"of {org}".encode()
    await database.write(tool_versions.insert_version, current, (2, 0, 0), a_body(snapshot=code), author(org))
    digest = tool_versions.digest_of(code)

    await purge(database, timedelta(0))
    await purge(database, timedelta(days=1))
    assert len(await database.read(recorded, org)) == 5
    await purge(database, -timedelta(days=1))
    assert await database.read(recorded, org) == []
    assert await database.read(tool_versions.find_snapshot, digest) == code
    await database.write(tool_versions.deprecate_versions, tool, [(2, 0, 0)], author(org))
    await purge(database, timedelta(days=1))
    assert await database.read(tool_versions.find_snapshot, digest) == code, "it was in use until now"
    await purge(database, -timedelta(days=1))
    assert await database.read(tool_versions.find_snapshot, digest) is None
    assert (await box.find(a_spec(tool.id, ""))).version == "1.0.0"
    assert await database.read(tool_versions.find_snapshot, tool_versions.digest_of(b"archive")) is not None

    current = await database.read(tools.get_tool, org, tool.id)
    await database.write(tool_versions.insert_version, current, (3, 0, 0), a_body(snapshot=code), author(org))
    assert await database.read(tool_versions.find_snapshot, digest) == code, "it is published again"


async def test_the_same_code_is_kept_once_by_a_tool(database: Database, org: str) -> None:
    await database.write(make_tool, org, (1, 0, 0), (1, 1, 0))

    assert await database.read(tool_versions.find_snapshot, tool_versions.digest_of(b"archive")) == b"archive"
    assert await database.read(tool_versions.find_snapshot, "absent") is None


async def test_copies_of_code_that_is_in_no_cluster_any_more_leave_the_disk(
    database: Database, org: str, tmp_path: Path
) -> None:
    await database.write(make_tool, org, (1, 0, 0))
    needed, spare, new = tool_versions.digest_of(b"archive"), "0" * 64, "1" * 64
    for name in (needed, spare, new):
        (tmp_path / name / "src").mkdir(parents=True)
        (tmp_path / name / "src" / "tool.py").touch(mode=0o444)
    for name in (needed, spare):
        os.utime(tmp_path / name, (0, 0))

    await leftovers.remove_copies(tmp_path, [database])
    await leftovers.remove_copies(tmp_path / "nowhere", [database])

    assert sorted(os.listdir(tmp_path)) == sorted([needed, new])
