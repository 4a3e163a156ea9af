"""Agents of folders on a server: put there, and asked to hold their conversations."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import httpx2

from support import samples, talk
from support.bookings import Calendar
from support.jobs import wait_for
from support.talk import Event
from tertulia.files.folder import AgentFolder, GraphFile, Rehearsal, Step
from tertulia.files.rehearsing import result_differences
from tertulia.files.tool_uses import with_ids
from tertulia.files.tools import CodeTool, HttpTool, ToolOfFolder
from tertulia.tools import archive

NUMBERS = itertools.count(1)
ALL_STEPS = {"current_agent_action_type": ".*"}


def install(admin: httpx2.Client, folder: AgentFolder, calendar: Calendar | None = None) -> str:
    """Make the agent of a folder, its graphs, its behaviours and its service. Return the service's identifier.

    Its tools of HTTP APIs ask the calendar.
    """
    agent_id = samples.make_agent(admin, **folder.agent)
    tools = {name: _tool(admin, tool, calendar) for name, tool in folder.tools.items()}
    graph_id = _graph(admin, folder, folder.graph, tools)
    fields: dict[str, Any] = {**folder.service, "name": f"{folder.service['name']} {samples.a_name()}"}
    service_id = samples.make_service(admin, agent_id=agent_id, graph_id=graph_id, **fields)
    for body in folder.behaviors:
        answer = admin.post(
            "/dynamic_behavior_set/",
            json={**body, "name": f"{body['name']} {samples.a_name()}", "applied_to_services": [service_id]},
        )
        assert answer.status_code == 201, answer.text
    return service_id


def _tool(admin: httpx2.Client, tool: ToolOfFolder, calendar: Calendar | None) -> str:
    """Publish a tool under a name of its own. Return its identifier."""
    body = {"name": f"{tool.name}_{next(NUMBERS)}", "description": tool.description, "tags": {}}
    made = admin.post("/tool/", json=body)
    assert made.status_code == 201, made.text
    tool_id = str(made.json()["id"])
    if isinstance(tool, CodeTool):
        path = f"/tool/{tool_id}/version/archive"
        published = admin.post(path, params={"bump_type": "major"}, content=archive.pack(tool.files))
    else:
        published = _publish_operation(admin, tool_id, tool, calendar)
    assert published.status_code == 201, published.text
    return tool_id


def _publish_operation(
    admin: httpx2.Client, tool_id: str, tool: HttpTool, calendar: Calendar | None
) -> httpx2.Response:
    assert calendar is not None, f"{tool.name} needs the calendar"
    keys = [{"name": name, "value": calendar.key, "is_secret": True} for name in tool.variables]
    if keys:
        admin.post(f"/tool/{tool_id}/envvar", json={"inserts": keys}).raise_for_status()
    definition = {**tool.definition, "url": calendar.url_of(str(tool.definition["url"]))}
    version = {"definition": definition, "input_schema": dict(tool.input_schema), "bump_type": "major"}
    return admin.post(f"/tool/{tool_id}/version/http", json=version)


def _graph(admin: httpx2.Client, folder: AgentFolder, graph: GraphFile, tools: Mapping[str, str]) -> str:
    references = {
        name: [_graph(admin, folder, folder.graphs[file], tools), 1] for name, file in graph.references.items()
    }
    body = with_ids(graph.body, tools)
    return samples.make_graph(admin, {**body, "references": {**body["references"], **references}})


def hold(admin: httpx2.Client, user: httpx2.Client, service_id: str, rehearsal: Rehearsal) -> str:
    """Hold a conversation as a user, and compare it with what must come of it. Return its identifier."""
    opening, turns = rehearsal.opening, list(rehearsal.turns)
    if rehearsal.opens == "agent":
        first: dict[str, Any] = {}
    else:
        opening = turns.pop(0)
        first = {"initial_message": opening.user, "initial_message_type": "user-message"}
    events = talk.lines(talk.create(user, service_id, ALL_STEPS, **first))
    conversation_id = talk.id_of(events)
    compare(admin, conversation_id, opening, events)
    for step in turns:
        kind = "user-message" if step.event is None else "external-event"
        events = talk.go_on(user, conversation_id, step.user or step.event, query=ALL_STEPS, type=kind)
        compare(admin, conversation_id, step, events)
    if rehearsal.result is not None:
        read = _result(user, conversation_id)
        assert list(result_differences(rehearsal.result, read)) == []
    return conversation_id


def _result(user: httpx2.Client, conversation_id: str) -> dict[str, Any]:
    """Wait for the result of a conversation that has ended. Return its fields."""
    read = wait_for(lambda: _ready(user.get(f"/conversation/{conversation_id}/result")))
    return dict(read["result"])


def _ready(answer: httpx2.Response) -> dict[str, Any] | None:
    assert answer.status_code == 200, answer.text
    return answer.json() if answer.json()["status"] == "ready" else None


def compare(admin: httpx2.Client, conversation_id: str, step: Step, events: list[Event]) -> None:
    """Compare a turn with what must come of it."""
    last = events[-1]
    assert last["type"] == "interaction-complete", last
    insights = admin.get(f"/conversation/{conversation_id}/interaction/{last['interaction_id']}/insights").json()
    reply = last["full_message"].lower()
    assert step.state in (None, insights["current_state_name"]), (step, insights["state_transition_logs"])
    assert last["conversation_completed"] is step.finished
    assert [words for words in step.says if words.lower() not in reply] == [], reply
    assert [words for words in step.never_says if words.lower() in reply] == [], reply
    told = iter(talk.types(events))
    assert [name for name in step.events if name not in told] == [], (step, talk.types(events))
    assert step.behavior in (None, _behavior(admin, insights)), insights
    assert step.tools == [] or step.tools == _tools(admin, conversation_id, last["interaction_id"])


def _behavior(admin: httpx2.Client, insights: Mapping[str, Any]) -> str | None:
    """Return the name of the behaviour that was chosen, as its file has it."""
    chosen = insights["triggered_dynamic_behavior_set_version_info"]
    if chosen is None:
        return None
    (found,) = admin.get("/dynamic_behavior_set/", params={"id": chosen[0]}).json()["dynamic_behavior_sets"]
    return str(found["name"]).split(" Sample ")[0].rpartition(": ")[2]


def _tools(admin: httpx2.Client, conversation_id: str, interaction_id: str) -> list[str]:
    """List the tools that were called in a turn. Return their names, as their folders have them."""
    calls = admin.get("/tool/invocation", params={"conversation_id": conversation_id}).json()["tool_invocations"]
    made = [
        call["tool_id"] for call in reversed(calls) if call["invocation_source"]["interaction_id"] == interaction_id
    ]
    named = [admin.get("/tool/", params={"id": each}).json()["tools"][0]["name"] for each in made]
    return [name.rpartition("_")[0] for name in named]


def rehearsals(folders: Mapping[str, AgentFolder]) -> Iterator[tuple[str, str]]:
    """Name every conversation of every folder. Yields pairs of the folder's name and the conversation's."""
    for name, folder in folders.items():
        for conversation in folder.conversations:
            yield name, conversation
