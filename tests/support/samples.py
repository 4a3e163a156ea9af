"""Agents, context graphs and services, small but whole, for tests to bend; and the requests that make them."""

import itertools
from typing import Any

import httpx2

Json = dict[str, Any]

AGENT: Json = {
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

_numbers = itertools.count(1)


def a_name() -> str:
    """Make up a name. Return one that nothing else has."""
    return f"Sample {next(_numbers)}"


# --- Tools ----------------------------------------------------------------------------------------------------------


def tool(name: str = "tool_{lower}", **fields: Any) -> Json:
    """Describe a tool. Return the body of the request that makes it."""
    return {"name": name, "description": "Greets a person.", "tags": {}, **fields}


def tool_input(parameters: Json, **fields: Any) -> Json:
    """Describe a call of a tool. Return it."""
    return {
        "input_parameters": parameters,
        "invocation_mode": "regular",
        "nonsensitive_user_variables": {},
        "sensitive_user_variables": {},
        **fields,
    }


def tool_test(project: str, *inputs: Json, **fields: Any) -> Json:
    """Describe a test of a project. Return the body of the request."""
    return {
        "inputs": [tool_input(parameters) for parameters in inputs],
        "commit_branch": "main",
        "project_path": project,
        "required_envvars": {},
        "required_secret_envvars": {},
        **fields,
    }


# --- Context graphs --------------------------------------------------------------------------------------------------


def to(next_state: str | list[str], description: str | None = None) -> Json:
    """Describe an exit condition. Return its body."""
    return {"description": description or f"To {next_state}", "next_state": next_state}


def action(name: str, *exits: str | list[str], actions: int = 1, **fields: Any) -> Json:
    """Describe an action state with exits to these states. Return its body."""
    return {
        "type": "action",
        "name": name,
        "objective": f"Objective of {name}",
        "actions": [f"Action {n} of {name}" for n in range(1, actions + 1)],
        "intra_state_navigation_guidelines": [f"Navigation guideline of {name}"],
        "action_guidelines": [f"Action guideline of {name}"],
        "boundary_constraints": [f"Boundary of {name}"],
        "exit_conditions": [to(target) for target in exits],
        "action_tool_call_specs": [],
        "exit_condition_tool_call_specs": [],
        "skip_active_memory_retrieval": False,
        **fields,
    }


def decision(name: str, *exits: str | list[str]) -> Json:
    """Describe a decision state with exits to these states. Return its body."""
    return {
        "type": "decision",
        "name": name,
        "objective": f"Objective of {name}",
        "exit_conditions": [to(target) for target in exits],
        "decision_guidelines": [f"Decision guideline of {name}"],
        "tool_call_specs": [],
        "audio_fillers": [],
        "audio_filler_triggered_after": 1,
    }


def annotation(name: str, next_state: str | list[str]) -> Json:
    """Describe a state with a thought. Return its body."""
    return {"type": "annotation", "name": name, "inner_thought": f"Thought of {name}", "next_state": next_state}


def reflection(name: str, next_state: str | list[str]) -> Json:
    """Describe a state that thinks about a problem. Return its body."""
    return {
        "type": "reflection",
        "name": name,
        "problem": f"Problem of {name}",
        "word_limit": 10,
        "next_state": next_state,
        "tool_call_specs": [],
        "audio_fillers": [],
        "audio_filler_triggered_after": 1,
    }


def recall(name: str, next_state: str | list[str], *queries: str, wants: str | None = None) -> Json:
    """Describe a state that looks queries, and what it wants to know, up in the memory of the user. Return its body."""
    return {
        "type": "recall",
        "name": name,
        "queries": list(queries) or None,
        "requested_information": wants,
        "next_state": next_state,
    }


def tool_call(name: str, next_state: str | list[str], tool_id: str) -> Json:
    """Describe a state that calls a tool. Return its body."""
    return {
        "type": "tool-call",
        "name": name,
        "next_state": next_state,
        "designated_tool": tool_spec(tool_id),
        "designated_tool_call_objective": f"Objective of {name}",
        "designated_tool_call_context": f"Context of {name}",
        "designated_tool_call_guidances": [],
        "designated_tool_call_validations": [],
        "designated_tool_call_params_generation_audio_fillers": [],
        "designated_tool_call_params_generation_audio_filler_triggered_after": 1,
        "tool_call_specs": [],
    }


def tool_spec(tool_id: str) -> Json:
    """Describe the use of a tool. Return its body."""
    return {
        "tool_id": tool_id,
        "version_constraint": ">=1",
        "additional_instruction": "Use it.",
        "audio_fillers": [],
        "audio_filler_triggered_after": 1,
        "result_persistence": "ephemeral",
    }


def graph(*states: Json, **fields: Any) -> Json:
    """Describe a context graph from `start` to `end`. Return its body."""
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


def short_graph(*states: Json, **fields: Any) -> Json:
    """Describe a graph of `start`, which leads to `end`, and of more states. Return its body."""
    return graph(action("start", "end"), action("end"), *states, **fields)


# --- Made over HTTP --------------------------------------------------------------------------------------------------

AGENTS = "/organization/agent"
GRAPHS = "/organization/service_hierarchical_state_machine"


def make_agent(client: httpx2.Client, versions: int = 1, **changes: Any) -> str:
    """Make an agent with so many versions, the first with these changes to `AGENT`. Return its identifier."""
    agent_id = str(_created(client.post(AGENTS, json={"agent_name": a_name()}))["id"])
    for number in range(versions):
        _created(client.post(f"{AGENTS}/{agent_id}/", json={} if number else {**AGENT, **changes}))
    return agent_id


def make_graph(client: httpx2.Client, *bodies: Json) -> str:
    """Make a context graph with these versions. Return its identifier."""
    graph_id = str(_created(client.post(GRAPHS, json={"state_machine_name": a_name()}))["id"])
    for body in bodies:
        _created(client.post(f"{GRAPHS}/{graph_id}/", json=body))
    return graph_id


def service(agent_id: str, graph_id: str, **fields: Any) -> Json:
    """Describe a new service. Return its body."""
    return {
        "name": a_name(),
        "description": "A service of the tests",
        "agent_id": agent_id,
        "service_hierarchical_state_machine_id": graph_id,
        "is_active": True,
        "keyterms": [],
        "tags": {},
        **fields,
    }


def make_service(client: httpx2.Client, body: Json | None = None, **fields: Any) -> str:
    """Make a service of a context graph, with an agent and a graph unless `fields` name them. Return its identifier."""
    agent_id = fields.pop("agent_id", None) or make_agent(client)
    graph_id = fields.pop("graph_id", None) or make_graph(client, body or short_graph())
    new = service(agent_id, graph_id, **fields)
    return str(_created(client.post("/service/", json=new))["id"])


def make_clinic(client: httpx2.Client, tool_id: str, **fields: Any) -> str:
    """Make a service that calls a tool in a state of its own, and speaks. Return its identifier."""
    use = {**tool_spec(tool_id), "result_persistence": "persisted-preferred", **fields}
    states = [
        action("start", "book"),
        {**tool_call("book", "booked", tool_id), "designated_tool": use},
        action("booked", "end"),
        action("end"),
    ]
    agent_id = make_agent(client, voice_config={"voice_id": "default"})
    return make_service(client, graph(*states), agent_id=agent_id)


def behavior(*service_ids: str, **fields: Any) -> Json:
    """Describe a new dynamic behaviour set of services. Return its body."""
    version = {
        "is_active": fields.pop("is_active", True),
        "conversation_triggers": fields.pop("conversation_triggers", ["The user talks about the weather."]),
        "actions": fields.pop("actions", [instruction()]),
    }
    body = {"name": a_name(), "tags": {}, "applied_to_services": list(service_ids), "initial_version": version}
    return {**body, **fields}


def instruction(text: str = "Say that it rains.", *, overrides: bool = False) -> Json:
    """Describe an action of a dynamic behaviour. Return its body."""
    return {"type": "inject-instruction", "instruction": text, "overrides_instructions": overrides}


def make_behavior(client: httpx2.Client, *service_ids: str, **fields: Any) -> str:
    """Make a dynamic behaviour set of services. Return its identifier."""
    answer = client.post("/dynamic_behavior_set/", json=behavior(*service_ids, **fields))
    return str(_created(answer)["dynamic_behavior_set_id"])


def _created(answer: httpx2.Response) -> Json:
    assert answer.status_code == 201, answer.text
    return dict(answer.json())
