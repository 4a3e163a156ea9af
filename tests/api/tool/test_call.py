"""Calls of tools: tested, invoked, and on record."""

import io
import json
import tarfile
import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import psutil
import pytest

from support import samples
from support.samples import Json
from support.server import Server
from support.targets import NOWHERE, make_targets, write
from support.tools import Publish, an_echo
from tertulia import clock
from tertulia.ids import new_id
from tertulia.storage.tool_invocation import ToolInvocation, insert_invocation

SLEEPING = """
import time
def run(arguments, context):
    time.sleep(20 if arguments["say"] == "aa" else 0)
"""
FAILING = """
def run(arguments, context):
    raise ValueError("no room for " + arguments["say"])
"""


def invoke(client: httpx2.Client, tool_id: str, *inputs: Json, version: str = "1.0.0") -> httpx2.Response:
    """Call a version of a tool. Return the answer."""
    return client.post(f"/tool/{tool_id}/version/{version}/invoke", json={"inputs": list(inputs)})


def test_a_version_is_called_with_its_variables_and_the_users(
    as_admin: httpx2.Client, tool: str, publish: Publish
) -> None:
    inserts = [
        {"name": "API_KEY", "value": "the-key", "is_secret": True},
        {"name": "OTHER", "value": "not required", "is_secret": False},
    ]
    as_admin.post(f"/tool/{tool}/envvar", json={"inserts": inserts}).raise_for_status()
    publish(tool, archive=an_echo(secret=("API_KEY",))).raise_for_status()
    plain = samples.tool_input({"say": "a"}, nonsensitive_user_variables={"city": "Rome"})
    secret = samples.tool_input(
        {"say": "aa"}, sensitive_user_variables={"card": "1234"}, invocation_mode="conversation-simulation"
    )

    results = invoke(as_admin, tool, plain, secret).raise_for_status().json()["invocation_results"]

    assert [result["succeeded"] for result in results] == [True, True], results
    told = [json.loads(result["output"]) for result in results]
    environment = {"API_KEY": "the-key"}
    assert told[0] == {
        "said": "a", "plain": {"city": "Rome"}, "secret": {}, "environment": environment, "mode": "regular"
    }  # fmt: skip
    assert (told[1]["said"], told[1]["secret"], told[1]["mode"]) == ("aa", {"card": "1234"}, "conversation-simulation")
    assert all(isinstance(result["duration_ms"], int) for result in results)


def test_a_tool_that_fails_is_told_in_an_answer_that_does_not(
    as_admin: httpx2.Client, tool: str, publish: Publish
) -> None:
    publish(tool, archive=an_echo(code=FAILING)).raise_for_status()

    answer = invoke(as_admin, tool, samples.tool_input({"say": "aaa"}))

    (result,) = answer.json()["invocation_results"]
    assert (answer.status_code, result["succeeded"]) == (200, False)
    assert (result["exception_type"], result["exception_message"]) == ("ValueError", "no room for aaa")
    assert result["exception_stack_trace"] == ["tool.py, line 3, in run"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"input_parameters": {"say": 1}}, 400),
        ({"input_parameters": {}}, 400),
        ({"input_parameters": {"say": "a" * 40 + "b"}}, 400),
        ({"nonsensitive_user_variables": {"c": "one letter"}}, 422),
        ({"nonsensitive_user_variables": {f"v{n}": "" for n in range(21)}}, 422),
        ({"invocation_mode": "other"}, 422),
    ],
)
def test_an_input_has_to_fit(as_admin: httpx2.Client, tool: str, publish: Publish, changes: Json, status: int) -> None:
    publish(tool).raise_for_status()

    assert invoke(as_admin, tool, samples.tool_input({"say": "a"}, **changes)).status_code == status


@pytest.mark.parametrize("version", ["1.0.1", "1.0", "latest", "%3E%3D1", "9" * 400 + ".0.0"])
def test_a_version_that_is_not_there_is_not_found(
    as_admin: httpx2.Client, tool: str, publish: Publish, version: str
) -> None:
    publish(tool).raise_for_status()
    there = samples.tool_input({"say": "a"})

    assert invoke(as_admin, tool, there, version=version).status_code == 404
    as_admin.delete(f"/tool/{tool}/version/%3E0").raise_for_status()
    assert invoke(as_admin, tool, there).status_code == 404


def test_a_project_is_tested_before_it_is_published(as_admin: httpx2.Client) -> None:
    test = samples.tool_test("calculator", {"expression": "2 ** 100"}, {"expression": "1 / 0"})

    results = as_admin.post("/tool/test", json=test).raise_for_status().json()["invocation_results"]

    assert [result.get("output") or result["exception_message"] for result in results] == [
        "1267650600228229401496703205376",
        "This has no result.",
    ]
    both = {"required_envvars": {"A": "1"}, "required_secret_envvars": {"A": "1"}}
    assert as_admin.post("/tool/test", json={**test, **both}).status_code == 400
    for absent in ("absent", 300 * "a"):
        assert as_admin.post("/tool/test", json={**test, "project_path": absent}).status_code == 404
    assert as_admin.post("/tool/test", json=samples.tool_test("calculator", {"x": 1})).status_code == 400
    assert as_admin.post("/tool/test", json=samples.tool_test("calculator")).status_code == 422


def test_the_scaffold_is_a_project_that_can_be_published_as_it_comes(
    as_user: httpx2.Client, as_admin: httpx2.Client, tool: str, publish: Publish
) -> None:
    scaffold = as_user.get("/tool/amigo_tool_scaffold.tar.gz").raise_for_status()
    assert scaffold.headers["content-type"] == "application/gzip"
    with tarfile.open(fileobj=io.BytesIO(scaffold.content)) as tar:
        file = tar.extractfile("examples.json")
        assert file is not None
        examples = json.load(file)

    publish(tool, archive=scaffold.content).raise_for_status()
    inputs = [samples.tool_input(example["input"]) for example in examples]
    results = invoke(as_admin, tool, *inputs).json()["invocation_results"]

    assert [result["output"] for result in results] == [example["output"] for example in examples]


def test_a_client_that_leaves_stops_the_call(as_admin: httpx2.Client, tool: str, publish: Publish) -> None:
    publish(tool, archive=an_echo(code=SLEEPING)).raise_for_status()
    assert invoke(as_admin, tool, samples.tool_input({"say": "a"})).json()["invocation_results"][0]["succeeded"]
    standing = processes_of_tools()
    body = {"inputs": [samples.tool_input({"say": "aa"})]}
    with pytest.raises(httpx2.ReadTimeout):
        as_admin.post(f"/tool/{tool}/version/1.0.0/invoke", json=body, timeout=1.0)
    until = time.monotonic() + 10
    while left := processes_of_tools() - standing:
        assert time.monotonic() < until, left


def processes_of_tools() -> set[int]:
    """Find the processes of tools that this test's server has started. Return their identifiers."""
    found: set[int] = set()
    for each in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            if "tertulia.tools.confinement" in " ".join(each.cmdline()):
                found.add(each.pid)
    return found


# --- On record -------------------------------------------------------------------------------------------------------


def a_record(server: Server, targets: Any, **fields: Any) -> str:
    """Put a call on record. Return its identifier."""
    made = ToolInvocation(
        id=new_id(),
        org_id=server.demo.organization_id,
        tool_id=targets["tool_id"],
        major=1,
        minor=0,
        patch=0,
        succeeded=True,
        output="A table for two.",
        exception_type="",
        exception_message="",
        exception_stack_trace=[],
        duration_ms=12,
        inputs={"say": "a"},
        user_id=server.demo.admin_user_id,
        service_id=targets["service_id"],
        conversation_id=None,
        interaction_id=None,
        place={"type": "tool-call-state", "current_state_machine_and_version": [NOWHERE, 1], "state_name": "book"},
        created_at=clock.now(),
    )
    made = replace(made, **fields)
    write(server, insert_invocation, made)
    return made.id


def test_calls_are_listed_and_searched(tertulia: Server, as_admin: httpx2.Client) -> None:
    targets = make_targets(tertulia, as_admin, tertulia.demo.admin_user_id)
    tool_id = targets["tool_id"]
    first = as_admin.get("/tool/invocation", params={"tool_id": tool_id}).json()["tool_invocations"][0]["id"]
    wreck = {"exception_type": "Shipwreck", "exception_message": "Sank.", "exception_stack_trace": ["tool.py, line 3"]}
    earlier = clock.now() - timedelta(days=1)
    failed = a_record(tertulia, targets, succeeded=False, output="", created_at=earlier, **wreck)
    void = a_record(tertulia, targets, minor=2)

    def ids(path: str = "/tool/invocation", **query: Any) -> list[str]:
        page = as_admin.get(path, params={"tool_id": tool_id, **query}).raise_for_status().json()
        return [found["id"] for found in page["tool_invocations"]]

    def found(query: str, *fields: str) -> list[str]:
        return ids(
            "/tool/invocation/search", query=query, query_against=[f"invocation_status.{name}" for name in fields]
        )

    assert ids() == [void, first, failed]
    assert ids(sort_by="+created_at", limit=1) == [failed]
    assert ids(sort_by=["-invocation_status.succeeded", "-version.minor", "+invocation_source.type"])[0] == void
    assert ids(succeeded=False) == [failed]
    assert ids(version=">=1.1") == []  # no such version is published
    assert ids(version="<2") == [first, failed]
    assert ids(invocation_source_type="simulation-conversation") == []
    assert ids(invocation_source_type=["simulation-conversation", "regular-conversation"]) == [void, first, failed]
    assert ids(conversation_id=targets["conversation_id"]) == [first]
    assert ids(simulation_unit_test_set_run_id=NOWHERE) == []
    assert ids(limit=0) == []
    assert found("SHIPWRECK table", "exception_type", "output") == [void, failed]
    assert found("line", "exception_stack_trace") == [failed]
    assert found("table", "exception_message") == []
    for wrong in ({"tool_id": tool_id, "version": [">1", ">1"]}, {"version": ">1"}):
        assert as_admin.get("/tool/invocation", params=wrong).status_code == 400
    assert as_admin.get("/tool/invocation", params={"tool_id": tool_id, "version": "1.0"}).status_code == 422
    assert as_admin.get("/tool/invocation/search", params={"query": "table"}).status_code == 422


def test_a_call_is_gone_with_its_user(tertulia: Server, as_admin: httpx2.Client) -> None:
    targets = make_targets(tertulia, as_admin)
    query = {"tool_id": targets["tool_id"]}
    assert len(as_admin.get("/tool/invocation", params=query).json()["tool_invocations"]) == 1

    as_admin.delete(f"/user/{targets['user_id']}").raise_for_status()

    assert as_admin.get("/tool/invocation", params=query).json()["tool_invocations"] == []


def test_a_graph_and_a_behavior_may_name_a_tool_that_has_no_version(as_admin: httpx2.Client, tool: str) -> None:
    def status(tool_id: str, constraint: str = "") -> tuple[int, int]:
        spec = {**samples.tool_spec(tool_id), "version_constraint": constraint}
        graph = samples.short_graph()
        graph["states"][0]["action_tool_call_specs"] = [spec]
        graph_id = as_admin.post(
            "/organization/service_hierarchical_state_machine", json={"state_machine_name": samples.a_name()}
        ).json()["id"]
        path = f"/organization/service_hierarchical_state_machine/{graph_id}/"
        change = {
            "type": "change-tool-candidates",
            "tool_call_specs": [{**spec, "tool_name": "x"}],
            "overrides_existing_tool_call_specs": True,
        }
        behavior = samples.behavior(name=samples.a_name(), actions=[change])
        return (
            as_admin.post(path, json=graph).status_code,
            as_admin.post("/dynamic_behavior_set/", json=behavior).status_code,
        )

    assert status(tool, ">=1,<2") == (201, 201)
    assert status(tool) == (201, 201)
    assert status(tool, "^1") == (422, 422)
    assert status(NOWHERE) == (404, 404)
    as_admin.delete(f"/tool/{tool}").raise_for_status()
    assert status(tool) == (404, 404)


# --- Variables of users ----------------------------------------------------------------------------------------------


def test_variables_of_a_user_are_set_deleted_and_bounded(tertulia: Server, as_user: httpx2.Client) -> None:
    user_id = tertulia.demo.user_id

    def change(**changes: Any) -> int:
        return as_user.post(f"/user/{user_id}/variable", json=changes).status_code

    def upsert(name: str, *, is_secret: bool = False, value: str = "v") -> Json:
        return {"name": name, "value": value, "is_secret": is_secret}

    def there() -> tuple[dict[str, str], list[str]]:
        (found,) = as_user.get("/user/", params={"user_id": user_id}).json()["users"]
        return found["nonsensitive_variables"], found["sensitive_variables"]

    before = there()
    assert change(upserts=[upsert("card", is_secret=True), upsert("city", value="Rome")]) == 204
    assert there() == ({**before[0], "city": "Rome"}, [*before[1], "card"])
    assert change(upserts=[upsert("card", value="open")]) == 204
    assert there()[0]["card"] == "open"
    assert "card" not in there()[1]
    assert change(deletes=[{"name": "absent"}], upserts=[upsert("other")]) == 400
    assert change(upserts=[upsert(f"v{n}") for n in range(20)]) == 400
    assert change(upserts=[upsert("user_id")]) == 422
    assert change(upserts=[upsert("city", value="")]) == 422
    assert change(upserts=[upsert("city", value="x" * 256)]) == 422
    assert change(upserts=[upsert("city")], deletes=[{"name": "city"}]) == 422
    assert change(deletes=[{"name": "city"}, {"name": "card"}]) == 204
    assert there() == before
