"""Bodies of agents and context graphs, and services made of them over HTTP."""

import secrets
from typing import Any

import httpx2

AGENT: dict[str, Any] = {
    "initials": "TA",
    "identity": {
        "name": "Test Agent",
        "role": "a host of tests",
        "developed_by": "the test suite",
        "default_spoken_language": "eng",
        "relationship_to_developer": {
            "ownership": "owned by the test suite",
            "type": "a fixture",
            "conversation_visibility": "they see all",
            "thought_visibility": "they see all thoughts",
        },
    },
    "background": "Background of the agent.",
    "behaviors": ["Behaviour of the agent."],
    "communication_patterns": ["Pattern of the agent."],
}


def action(name: str, *exits: Any, actions: int = 1, **fields: Any) -> dict[str, Any]:
    return {
        "type": "action",
        "name": name,
        "objective": f"Objective of {name}",
        "actions": [f"Action {n} of {name}" for n in range(1, actions + 1)],
        "intra_state_navigation_guidelines": [f"Navigation guideline of {name}"],
        "action_guidelines": [f"Action guideline of {name}"],
        "boundary_constraints": [f"Boundary of {name}"],
        "exit_conditions": [{"description": f"To {target}", "next_state": target} for target in exits],
        "action_tool_call_specs": [],
        "exit_condition_tool_call_specs": [],
        "skip_active_memory_retrieval": False,
        **fields,
    }


def decision(name: str, *exits: Any) -> dict[str, Any]:
    return {
        "type": "decision",
        "name": name,
        "objective": f"Objective of {name}",
        "exit_conditions": [{"description": f"To {target}", "next_state": target} for target in exits],
        "decision_guidelines": [f"Decision guideline of {name}"],
        "tool_call_specs": [],
        "audio_fillers": [],
        "audio_filler_triggered_after": 1,
    }


def annotation(name: str, next_state: Any) -> dict[str, Any]:
    return {"type": "annotation", "name": name, "inner_thought": f"Thought of {name}", "next_state": next_state}


def graph(*states: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "description": "A graph of the tests",
        "states": list(states),
        "new_user_initial_state": "start",
        "returning_user_initial_state": "start",
        "terminal_state": "end",
        "references": {},
        "global_intra_state_navigation_guidelines": ["Global navigation guideline"],
        "global_action_guidelines": ["Global action guideline"],
        "global_boundary_constraints": ["Global boundary"],
        **fields,
    }


PLAIN = graph(action("start", "end"), action("end"))


def _unique(name: str) -> str:
    return f"{name} {secrets.token_hex(4)}"


def _created(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code == 201, answer.text
    return answer.json()


def make_graph(admin: httpx2.Client, body: dict[str, Any]) -> str:
    """A context graph with one version; its identifier."""
    path = "/organization/service_hierarchical_state_machine"
    graph_id = _created(admin.post(path, json={"state_machine_name": _unique("graph")}))["id"]
    _created(admin.post(f"{path}/{graph_id}/", json=body))
    return str(graph_id)


def make_agent(admin: httpx2.Client, **changes: Any) -> str:
    """An agent with one version; its identifier."""
    agent_id = _created(admin.post("/organization/agent", json={"agent_name": _unique("agent")}))["id"]
    _created(admin.post(f"/organization/agent/{agent_id}/", json={**AGENT, **changes}))
    return str(agent_id)


def make_service(admin: httpx2.Client, body: dict[str, Any] | None = None, **fields: Any) -> str:
    """A service with an agent and a context graph of its own; its identifier."""
    service = {
        "service_hierarchical_state_machine_id": make_graph(admin, body or PLAIN),
        "agent_id": make_agent(admin),
        "name": _unique("service"),
        "description": "A service of the tests",
        "is_active": True,
        "keyterms": [],
        "tags": {},
        **fields,
    }
    return str(_created(admin.post("/service/", json=service))["id"])
