"""The values of fields that nobody needs to write in a file: an action state is a name, an objective and actions."""

from collections.abc import Mapping
from typing import Any, Final, cast

_EXITS: Final = {"exit_conditions": []}
_FILLERS: Final = {"audio_fillers": [], "audio_filler_triggered_after": 2}

_STATES: Final[dict[str, dict[str, Any]]] = {
    "action": {
        "intra_state_navigation_guidelines": [],
        "action_guidelines": [],
        "boundary_constraints": [],
        **_EXITS,
        "action_tool_call_specs": [],
        "exit_condition_tool_call_specs": [],
        "skip_active_memory_retrieval": False,
    },
    "decision": {"decision_guidelines": [], "tool_call_specs": [], **_FILLERS},
    "recall": {"queries": None, "requested_information": None},
    "annotation": {},
    "reflection": {"word_limit": 100, "tool_call_specs": [], **_FILLERS},
    "tool-call": {
        "designated_tool_call_params_generation_audio_fillers": [],
        "designated_tool_call_params_generation_audio_filler_triggered_after": 2,
        "designated_tool_call_guidances": [],
        "designated_tool_call_validations": [],
        "tool_call_specs": [],
    },
}

_RELATIONSHIP: Final = {
    "ownership": "the organization that runs this service",
    "type": "its agent",
    "conversation_visibility": "the organization may read conversations",
    "thought_visibility": "the organization may read thoughts",
}


def agent(value: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the body of an agent's version. Return it; what is no mapping is left for the check to find."""
    body = {"background": "", "behaviors": [], "communication_patterns": [], **value}
    identity = value.get("identity")
    if isinstance(identity, Mapping):
        given = cast("Mapping[str, Any]", identity)
        name = str(given.get("name", ""))
        body.setdefault("initials", "".join(word[0] for word in name.split()[:3]).upper())
        body["background"] = body["background"] or f"{name} is {given.get('role')}."
        body["identity"] = {
            "developed_by": "the organization that runs this service",
            "default_spoken_language": "eng",
            **given,
            "relationship_to_developer": {**_RELATIONSHIP, **given.get("relationship_to_developer", {})},
        }
    return body


def graph(value: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the body of a graph's version. Return it.

    A conversation begins in the first state and ends in the last, unless the file says otherwise.
    """
    body = {
        "references": {},
        "global_intra_state_navigation_guidelines": [],
        "global_action_guidelines": [],
        "global_boundary_constraints": [],
        **value,
    }
    states = value.get("states")
    if isinstance(states, list):
        body["states"] = completed = [_state(state) for state in cast("list[Any]", states)]
        names = [state.get("name") for state in completed if isinstance(state, Mapping)]
        if names:
            body.setdefault("new_user_initial_state", names[0])
            body.setdefault("returning_user_initial_state", body["new_user_initial_state"])
            body.setdefault("terminal_state", names[-1])
    return body


def _state(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    state: dict[str, Any] = {"type": "action", **value}
    return {**_STATES.get(str(state["type"]), {}), **state}


def behavior(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Complete the body of a dynamic behaviour set, but for its services. Return it."""
    actions = [
        {"type": "inject-instruction", "overrides_instructions": False, **action}
        if isinstance(action, Mapping)
        else action
        for action in value.get("actions", [])
    ]
    return {
        "name": value.get("name", name),
        "tags": value.get("tags", {}),
        "initial_version": {
            "is_active": value.get("is_active", True),
            "conversation_triggers": value.get("conversation_triggers", []),
            "actions": actions,
        },
    }


def service(value: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the body of a service, but for its agent and its graph. Return it."""
    return {"is_active": True, "keyterms": [], "tags": {}, "description": value.get("name"), **value}
