"""Bodies of the API as the shortest files that stand for them: what a default says is left out.

The inverse of `bodies`: a file that is read again gives the same body.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tertulia.files.bodies import (
    GRAPH_DEFAULTS,
    SPEC_DEFAULTS,
    STATE_DEFAULTS,
    Body,
    Identity,
    RelationshipToDeveloper,
    background_of,
    initials_of,
)
from tertulia.files.tool_uses import change_uses

_ORDER: Final = ("name", "type", "objective", "problem", "inner_thought", "queries", "requested_information", "actions")
"""The fields of a state that stand first; its ways out stand last."""
_LAST: Final = ("next_state", "exit_conditions")


def agent_value(body: Body, name: str, service: str) -> Body:
    """Shorten the body of an agent's version. Return the value of its file in the folder of a service."""
    identity = _without(body["identity"], _defaults(Identity))
    relationship = _without(body["identity"]["relationship_to_developer"], _defaults(RelationshipToDeveloper))
    identity = _without({**identity, "relationship_to_developer": relationship}, {"relationship_to_developer": {}})
    spoken = body["identity"]["name"]
    return {
        **_named(name, service),
        **_without({"initials": body["initials"]}, {"initials": initials_of(spoken)}),
        "identity": identity,
        **_without({"background": body["background"]}, {"background": background_of(spoken, body["identity"]["role"])}),
        **_without({key: body[key] for key in ("behaviors", "communication_patterns")}, _EMPTY),
        **({"voice_config": body["voice_config"]} if body.get("voice_config") else {}),
    }


_EMPTY: Final[Body] = {"behaviors": [], "communication_patterns": []}


def graph_value(body: Body, references: Mapping[str, Any], name: str, usual_name: str) -> Body:
    """Shorten the body of a graph's version, with its references as the folder has them. Return the value of its file.

    `usual_name` is the one that the file has when it gives none.
    """
    states = [_state_value(state) for state in change_uses(body, _use_value)["states"]]
    first, last = (body["states"][at]["name"] for at in (0, -1)) if states else (None, None)
    ends = {
        "new_user_initial_state": first,
        "returning_user_initial_state": body["new_user_initial_state"],
        "terminal_state": last,
    }
    return {
        **_named(name, usual_name),
        "description": body["description"],
        **_without({field: body[field] for field in ends}, ends),
        **({"references": dict(references)} if references else {}),
        **_without({field: body[field] for field in GRAPH_DEFAULTS if field != "references"}, GRAPH_DEFAULTS),
        "states": states,
    }


def _state_value(state: Body) -> Body:
    kind = state["type"]
    defaults = {"type": "action", **STATE_DEFAULTS.get(kind, {})}
    value = _without(state, defaults)
    names = sorted(value, key=_rank)
    return {name: value[name] for name in names}


def _rank(field: str) -> tuple[int, str]:
    if field in _ORDER:
        return _ORDER.index(field), ""
    return (len(_ORDER) + 1 + _LAST.index(field), "") if field in _LAST else (len(_ORDER), "")


def service_value(body: Body) -> Body:
    """Shorten the fields of a service. Return the value of its file."""
    defaults: Body = {
        "description": body["name"],
        "is_active": True,
        "keyterms": [],
        "tags": {},
        "result_schema": None,
    }
    return {"name": body["name"], **_without({field: body[field] for field in defaults if field in body}, defaults)}


def behavior_value(body: Body, usual_name: str) -> Body:
    """Shorten the body of a dynamic behaviour set. Return the value of its file.

    `usual_name` is the one that the file has when it gives none.
    """
    version = body["initial_version"]
    return {
        **_named(body["name"], usual_name),
        **_without({"tags": body["tags"], "is_active": version["is_active"]}, {"tags": {}, "is_active": True}),
        "conversation_triggers": version["conversation_triggers"],
        "actions": [_action_value(action) for action in change_uses(version, _use_value)["actions"]],
    }


def _use_value(use: Body) -> Body:
    """Shorten the use of a tool. Return it; the tool stands first, and the order of the rest is always the same."""
    value = _without(use, {**SPEC_DEFAULTS, **({"tool_name": use["tool"]} if "tool" in use else {})})
    return {name: value[name] for name in sorted(value, key=lambda name: (name not in {"tool", "tool_id"}, name))}


def _action_value(action: Body) -> Body:
    if action["type"] == "inject-instruction":
        return _without(action, {"type": "inject-instruction", "overrides_instructions": False})
    return _without(action, {"overrides_existing_tool_call_specs": False})


def _defaults(kind: Any) -> Body:
    fields = kind.model_fields.items()
    return {name: field.default for name, field in fields if not field.is_required()}


def _named(name: str, usual: str) -> Body:
    return {} if name == usual else {"name": name}


def _without(body: Mapping[str, Any], defaults: Mapping[str, Any]) -> Body:
    """Leave out the fields that have the value of their default, and its type. Return the others."""
    return {name: value for name, value in body.items() if name not in defaults or not _same(value, defaults[name])}


def _same(value: object, default: object) -> bool:
    if isinstance(value, Sequence) and isinstance(default, Sequence):
        return value == default
    return value == default and isinstance(value, bool) == isinstance(default, bool)
