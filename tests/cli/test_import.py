"""`tertulia import`: JSON as the API gives it becomes a folder, whichever way it is put together."""

import json
from pathlib import Path
from typing import Any

import pytest

from support import samples
from support.commands import Command
from tertulia.files.document import read
from tertulia.files.folder import load

AGENT_ID, GRAPH_ID, OTHER_ID, SERVICE_ID, SET_ID = (letter * 24 for letter in "abcde")
WHO = {"org_id": "there", "user_id": "somebody"}
MADE = {"org_id": "there", "created_at": "2026-01-01T00:00:00Z", "creator": WHO}
AGENT = {**samples.AGENT, "voice_config": None, "agent_id": AGENT_ID, "version": 2, **MADE}
OTHER = {**samples.short_graph(), "service_hierarchical_state_machine_id": OTHER_ID, "version": 4, **MADE}
GRAPH = {
    **samples.graph(
        samples.action("start", ["taxi.start", "end"]), samples.action("end"), references={"taxi": [OTHER_ID, 4]}
    ),
    "service_hierarchical_state_machine_id": GRAPH_ID,
    "version": 3,
    **MADE,
}
SERVICE = {
    "id": SERVICE_ID,
    "name": "Desk: no. 1",
    "description": "A desk.",
    "is_active": True,
    "agent_id": AGENT_ID,
    "service_hierarchical_state_machine_id": GRAPH_ID,
    "tags": [{"key": "branch", "value": None}],
    "keyterms": ["no"],
    "version_sets": {},
    "creator": WHO,
    "updated_by": WHO,
}
SET = {"id": SET_ID, "name": "Weather", "is_active": True, "applied_to_services": [SERVICE_ID], "tags": {}}
SET_VERSION = {
    "dynamic_behavior_set_id": SET_ID,
    "version": 1,
    "conversation_triggers": ["Rain."],
    "actions": [samples.instruction()],
}
NAMES = [
    {"id": AGENT_ID, "name": "Ada", "deprecated": False, "latest_version": 2},
    {"id": OTHER_ID, "name": "Taxi", "deprecated": False, "latest_version": 4},
]
WHOLE: dict[str, Any] = {
    "agent": AGENT,
    "graphs": {
        "state_machine_versions": [{**GRAPH, "version": 1, "description": "Old."}, GRAPH, OTHER],
        "has_more": False,
    },
    "services": [SERVICE],
    "names": NAMES,
    "sets": [SET, SET_VERSION],
}


def test_a_whole_service_becomes_a_folder_in_order(command: Command, tmp_path: Path) -> None:
    (tmp_path / "all.json").write_text(json.dumps(WHOLE), "utf-8")
    done = command("import", "all.json", "--out", "desk")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("Next: tertulia dev desk\n")
    loaded = load(tmp_path / "desk")
    assert (loaded.agent_name, loaded.service["name"], loaded.service["tags"]) == (
        "Ada",
        "Desk: no. 1",
        {"branch": None},
    )
    assert loaded.graph.body["description"] == GRAPH["description"]
    assert dict(loaded.graph.references) == {"taxi": "graphs/taxi.yaml"}
    assert loaded.graph_name("graphs/taxi.yaml") == "Taxi"
    assert [body["name"] for body in loaded.behaviors] == ["Weather"]
    assert loaded.agent == samples.AGENT
    assert command("import", "all.json", "--out", "desk").stderr.startswith("tertulia: The folder desk is not empty")


def test_versions_in_files_of_their_own_do(command: Command, tmp_path: Path) -> None:
    for name, value in {"agent": AGENT, "graph": {**OTHER, "unknown": 1}}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(value), "utf-8")
    assert command("import", "agent.json", "graph.json", "--out", "desk").returncode == 0
    assert read(tmp_path / "desk" / "service.yaml").value == {"name": "agent"}
    load(tmp_path / "desk")


def test_a_tool_that_is_told_beside_a_graph_is_called_by_its_name(command: Command, tmp_path: Path) -> None:
    tool = {"id": "5" * 24, "name": "weather", "envvars": [], "secret_envvars": [], "deprecated": False}
    start = samples.action("start", "end", action_tool_call_specs=[samples.tool_spec("5" * 24)])
    graph = {**GRAPH, **samples.graph(start, samples.action("end"))}
    (tmp_path / "all.json").write_text(json.dumps([SERVICE, AGENT, graph, {"tools": [tool]}]), "utf-8")
    assert command("import", "all.json", "--out", "desk").returncode == 0
    (state, _end) = read(tmp_path / "desk" / "graph.yaml").value["states"]
    assert state["action_tool_call_specs"][0]["tool"] == "weather"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "wrong.json:1:2: "),
        ("[]", "There is no version of an agent"),
        ("3", "There is no version of an agent"),
        (json.dumps([SERVICE, {**SERVICE, "name": "Two"}, AGENT, GRAPH]), "several services"),
        (json.dumps([SERVICE, AGENT]), "There is no version of a context graph"),
        (json.dumps([{**AGENT, "identity": 1}, GRAPH]), "not the form"),
        (json.dumps([AGENT, {**GRAPH, "states": 1}]), "not the form"),
        (json.dumps([AGENT, {**GRAPH, "references": {"taxi": "x"}}]), "not the form"),
        ("[" * 100_000, "nested too deeply"),
        ("[1e999]", "too large"),
        ("\xff", "There is no"),
    ],
)
def test_what_is_no_agent_is_told_in_one_line(command: Command, tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "wrong.json").write_text(text if text != "\xff" else '["\\ud800"]', "utf-8")
    done = command("import", "wrong.json", "--out", "desk")
    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr
    assert not (tmp_path / "desk").exists()
