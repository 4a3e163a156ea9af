"""An agent, a context graph and a service, small but whole, for tests to bend."""

import itertools
from typing import Any

import httpx2

AGENT: dict[str, Any] = {
    "initials": "TS",
    "identity": {
        "name": "Tester",
        "role": "Assistant of a test",
        "developed_by": "Tertulia",
        "default_spoken_language": "eng",
        "relationship_to_developer": {
            "ownership": "Owned.",
            "type": "A sample.",
            "conversation_visibility": "Seen.",
            "thought_visibility": "Unseen.",
        },
    },
    "background": "Made for a test.",
    "behaviors": ["Be brief."],
    "communication_patterns": ["Speak plainly."],
}

_numbers = itertools.count(1)


def a_name() -> str:
    """A name that nothing else has."""
    return f"Sample {next(_numbers)}"


def action(name: str, **changes: Any) -> dict[str, Any]:
    """An action state that leads nowhere."""
    return {
        "type": "action",
        "name": name,
        "objective": "Talk.",
        "actions": ["Say something."],
        "intra_state_navigation_guidelines": [],
        "action_guidelines": [],
        "boundary_constraints": [],
        "exit_conditions": [],
        "action_tool_call_specs": [],
        "exit_condition_tool_call_specs": [],
        "skip_active_memory_retrieval": False,
        **changes,
    }


def to(next_state: str | list[str], description: str = "It is time.") -> dict[str, Any]:
    """An exit condition."""
    return {"description": description, "next_state": next_state}


def tool_spec(tool_id: str) -> dict[str, Any]:
    return {
        "tool_id": tool_id,
        "version_constraint": ">=1",
        "additional_instruction": "Use it.",
        "audio_fillers": [],
        "audio_filler_triggered_after": 1,
        "result_persistence": "ephemeral",
    }


def reflection(name: str, next_state: str) -> dict[str, Any]:
    """A state that the engine does not run yet."""
    return {
        "type": "reflection",
        "name": name,
        "problem": "What now?",
        "word_limit": 10,
        "next_state": next_state,
        "tool_call_specs": [],
        "audio_fillers": [],
        "audio_filler_triggered_after": 1,
    }


def graph(*states: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A graph of `start` and `end`, with more states between them."""
    return {
        "description": "A sample.",
        "states": [action("start", exit_conditions=[to("end")]), action("end"), *states],
        "new_user_initial_state": "start",
        "returning_user_initial_state": "start",
        "terminal_state": "end",
        "references": {},
        "global_intra_state_navigation_guidelines": [],
        "global_action_guidelines": [],
        "global_boundary_constraints": [],
        **changes,
    }


def make_agent(client: httpx2.Client, versions: int = 1) -> str:
    """A new agent with so many versions."""
    agent_id = str(_created(client.post("/organization/agent", json={"agent_name": a_name()}))["id"])
    for number in range(versions):
        _created(client.post(f"/organization/agent/{agent_id}/", json={} if number else AGENT))
    return agent_id


GRAPHS = "/organization/service_hierarchical_state_machine"


def make_graph(client: httpx2.Client, *bodies: dict[str, Any]) -> str:
    """A new context graph with these versions."""
    graph_id = str(_created(client.post(GRAPHS, json={"state_machine_name": a_name()}))["id"])
    for body in bodies:
        _created(client.post(f"{GRAPHS}/{graph_id}/", json=body))
    return graph_id


def service(agent_id: str, graph_id: str, **changes: Any) -> dict[str, Any]:
    """The body of a new service."""
    return {
        "name": a_name(),
        "description": "A sample.",
        "agent_id": agent_id,
        "service_hierarchical_state_machine_id": graph_id,
        "is_active": True,
        "keyterms": [],
        "tags": {},
        **changes,
    }


def make_service(client: httpx2.Client, **changes: Any) -> str:
    """A new service with an agent and a context graph of its own."""
    body = service(changes.pop("agent_id", None) or make_agent(client), make_graph(client, graph()), **changes)
    return str(_created(client.post("/service/", json=body))["id"])


def _created(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    return dict(answer.json())
