"""The JSON Schema of each file of a folder, from the types that read it. Editors complete fields by them.

They are of draft 2020-12. A field that the types refuse is refused by the schema; rules between fields, as states
that exist, are checked by the commands alone.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, cast

from pydantic import BaseModel

from tertulia.engine.graph.context_graph import ContextGraph, ToolCallSpec
from tertulia.files.bodies import (
    GRAPH_DEFAULTS,
    SPEC_DEFAULTS,
    STATE_DEFAULTS,
    AgentFile,
    BehaviorFile,
    Body,
    NamedToolCallSpec,
    PinnedGraph,
    ServiceFile,
)
from tertulia.files.folder import Rehearsal

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ENDS: Final = frozenset({"new_user_initial_state", "returning_user_initial_state", "terminal_state"})
_NAME: Final[Body] = {
    "type": "string",
    "minLength": 1,
    "maxLength": 256,
    "description": "The server's name of the graph; else that of the service.",
}
_TOOL: Final[Body] = {
    "type": "string",
    "pattern": "^[a-z0-9_]+$",
    "description": "The name of a tool, of this folder or of the server.",
}
_DESCRIPTIONS: Final = {
    "states": "The states: a conversation begins in the first and ends in the last, unless other fields say so.",
    "references": "Graphs that states lead into, each by a short name: the file of the graph in this folder.",
    "exit_conditions": "Ways out: what a person says or does, and the state that comes then.",
    "actions": "What the agent may do here; the model picks one, then the agent speaks.",
    "objective": "What is to be reached in this state.",
    "next_state": "The name of a state, or `[reference.state, state to come back to]`.",
}


def schema_of(name: str) -> Body:
    """Make the schema of a kind of file. Return it.

    Raises:
        KeyError: there is no such kind.
    """
    schema = _MAKERS[name]()
    _close(schema)
    return {"$schema": _DIALECT, "title": f"Tertulia: {name}", **schema}


def names() -> Iterator[str]:
    """List the kinds of files that have a schema. Yield their names."""
    yield from _MAKERS


def _of(kind: type[BaseModel]) -> Callable[[], Body]:
    return kind.model_json_schema


def _graph() -> Body:
    schema = ContextGraph.model_json_schema()
    definitions: dict[str, Body] = schema["$defs"]
    _drop(schema, GRAPH_DEFAULTS.keys() | _ENDS)
    for definition in definitions.values():
        kind = definition["properties"].get("type", {}).get("const")
        if kind is not None:
            _drop(definition, {*STATE_DEFAULTS[kind], *(["type"] if kind == "action" else [])})
    _name_tool(definitions[ToolCallSpec.__name__])
    states = schema["properties"]["states"]["items"]
    states.pop("discriminator", None)
    schema["properties"] = {"name": _NAME, **schema["properties"]}
    references: Body = schema["properties"]["references"]
    (versions,) = references.pop("patternProperties").values()
    file = {"type": "string", "pattern": r"^graphs/.+\.yaml$"}
    references["additionalProperties"] = {"anyOf": [file, PinnedGraph.model_json_schema(), versions]}
    references["propertyNames"] = {"pattern": "^[A-Za-z0-9_]+$"}
    return schema


def _behavior() -> Body:
    schema = BehaviorFile.model_json_schema()
    _name_tool(schema["$defs"][NamedToolCallSpec.__name__])
    return schema


def _name_tool(spec: Body) -> None:
    """Have a use of a tool name it by `tool`, or else by its identifier."""
    _drop(spec, {*SPEC_DEFAULTS, "tool_id", "tool_name"})
    spec["properties"] = {"tool": _TOOL, **spec["properties"]}
    spec["oneOf"] = [{"required": ["tool"]}, {"required": ["tool_id", "tool_name"] if _is_named(spec) else ["tool_id"]}]


def _is_named(spec: Body) -> bool:
    return "tool_name" in spec["properties"]


_MAKERS: Final[Mapping[str, Callable[[], Body]]] = {
    "agent": _of(AgentFile),
    "graph": _graph,
    "service": _of(ServiceFile),
    "behavior": _behavior,
    "conversation": _of(Rehearsal),
}


def _drop(schema: Body, optional: Any) -> None:
    schema["required"] = [name for name in schema.get("required", []) if name not in optional]


def _close(schema: object) -> None:
    """Have objects refuse fields that they do not know, and name their fields in plain words."""
    if isinstance(schema, list):
        for item in cast("list[object]", schema):
            _close(item)
    if not isinstance(schema, dict):
        return
    part = cast("Body", schema)
    properties = part.get("properties")
    if isinstance(properties, dict):
        part.setdefault("additionalProperties", False)
        for name, field in cast("dict[str, Body]", properties).items():
            field.pop("title", None)
            if name in _DESCRIPTIONS:
                field.setdefault("description", _DESCRIPTIONS[name])
    for key, value in part.items():
        if key not in {"default", "const", "enum", "required"}:
            _close(value)
