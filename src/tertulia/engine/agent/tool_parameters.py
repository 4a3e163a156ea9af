"""The parameters of a tool as a model is asked for them: in the part of JSON Schema that all models take.

Some servers enforce a schema only if every property is required and no other is allowed. So an optional parameter is
asked for as one that may be null, and a null is taken out of the answer. The whole schema judges the parameters after
that: see tertulia.tools.arguments. Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

Schema = Mapping[str, Any]

MOST_DEPTH = 8
"""Schemas within each other that a model is shown; deeper ones are any value."""

MOST_NODES = 1000
"""Schemas in all that a model is shown, each as often as something refers to it."""

MOST_JOINED = 20_000
"""Names of properties that are joined in all, where `allOf` has a schema in parts; further parts are left out."""

_LONGEST_DESCRIPTION = 300
_COPIED = ("const", "maxItems", "maxLength", "maximum", "minItems", "minLength", "minimum", "type")
_NULL: Schema = {"type": "null"}


def asked(schema: Schema) -> dict[str, Any]:
    """Rewrite an input schema for a model. Return the schema of an object."""
    form = _Form(schema).of(schema, 0)
    return {"additionalProperties": False, "properties": {}, "required": [], **form, "type": "object"}


def given(parameters: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """Take the nulls out of an answer that stand for parameters that were not given. Return the rest."""
    return cast("dict[str, Any]", _Form(schema).without_nulls(parameters, schema, 0))


def described(schema: Schema) -> str:
    """Describe the parameters of a tool on one line. Return it."""
    form = _Form(schema)
    whole = form.resolved(schema)
    required = _names(whole.get("required"))
    told = [form.described(name, part, is_required=name in required) for name, part in _parts(whole.get("properties"))]
    return "; ".join(told) or "none"


class _Form:
    """A schema that is rewritten, with the references within it."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._nodes = 0
        self._names = 0

    def resolved(self, schema: object) -> Schema:
        """Follow references, and join what `allOf` has in parts. Return the schema, empty if nothing is known."""
        node: Schema = cast("Schema", schema) if isinstance(schema, dict) else {}
        for _ in range(MOST_DEPTH):
            reference = node.get("$ref")
            if not isinstance(reference, str):
                break
            rest = {key: value for key, value in node.items() if key != "$ref"}
            node = {**self._lookup(reference), **rest}
        joined = node.get("allOf")
        return self._joined(node, cast("list[Any]", joined)) if isinstance(joined, list) else node

    def of(self, schema: object, depth: int) -> dict[str, Any]:
        self._nodes += 1
        if depth > MOST_DEPTH or self._nodes > MOST_NODES:
            return {}
        node = self.resolved(schema)
        made = {key: node[key] for key in _COPIED if key in node}
        if isinstance(description := node.get("description"), str):
            made["description"] = description[:_LONGEST_DESCRIPTION]
        if isinstance(node.get("enum"), list) and node["enum"]:
            made["enum"] = node["enum"]
        if "items" in node:
            made["items"] = self.of(node["items"], depth + 1)
        options = node.get("anyOf", node.get("oneOf"))
        if isinstance(options, list) and options:
            made["anyOf"] = [self.of(option, depth + 1) for option in cast("list[Any]", options)]
        if isinstance(node.get("properties"), dict):
            made |= self._object(node, depth)
        return made

    def _object(self, node: Schema, depth: int) -> dict[str, Any]:
        required = _names(node.get("required"))
        properties: dict[str, Any] = {}
        for name, part in _parts(node["properties"]):
            form = self.of(part, depth + 1)
            properties[name] = form if name in required else {"anyOf": [form, _NULL]}
        return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}

    def without_nulls(self, value: object, schema: object, depth: int) -> object:
        if depth > MOST_DEPTH:
            return value
        node = self.resolved(schema)
        if isinstance(value, dict):
            parts, required = dict(_parts(node.get("properties"))), _names(node.get("required"))
            return {
                name: self.without_nulls(part, parts.get(name), depth + 1)
                for name, part in cast("dict[str, Any]", value).items()
                if part is not None or name in required or name not in parts
            }
        if isinstance(value, list):
            return [self.without_nulls(item, node.get("items"), depth + 1) for item in cast("list[Any]", value)]
        return value

    def described(self, name: str, schema: object, *, is_required: bool) -> str:
        node = self.resolved(schema)
        kind = node.get("enum") or node.get("type") or "any"
        kinds = " or ".join(map(str, cast("list[Any]", kind))) if isinstance(kind, list) else str(kind)
        about = " ".join(str(node.get("description", "")).split())[:_LONGEST_DESCRIPTION]
        return f"{name} ({kinds}{'' if is_required else ', optional'}){f': {about}' if about else ''}"

    def _joined(self, node: Schema, parts: Sequence[Any]) -> Schema:
        whole = {key: value for key, value in node.items() if key != "allOf"}
        for part in parts:
            found: Schema = cast("Schema", part) if isinstance(part, dict) else {}
            if isinstance(reference := found.get("$ref"), str):
                found = self._lookup(reference)
            properties = {**dict(_parts(found.get("properties"))), **dict(_parts(whole.get("properties")))}
            required = list(dict.fromkeys([*_names(whole.get("required")), *_names(found.get("required"))]))
            self._names += 1 + len(properties) + len(required)
            if self._names > MOST_JOINED:
                break
            whole = {**found, **whole, **({"properties": properties, "required": required} if properties else {})}
        return whole

    def _lookup(self, reference: str) -> Schema:
        """Find the part of the schema that a pointer leads to. Return it, empty if there is none."""
        found: object = self._root
        path = reference.removeprefix("#").strip("/")
        for step in path.split("/") if path else []:
            name = step.replace("~1", "/").replace("~0", "~")
            found = cast("Schema", found).get(name) if isinstance(found, dict) else None
        return cast("Schema", found) if isinstance(found, dict) else {}


def _parts(properties: object) -> Sequence[tuple[str, Any]]:
    return list(cast("dict[str, Any]", properties).items()) if isinstance(properties, dict) else ()


def _names(required: object) -> Sequence[str]:
    names = cast("list[object]", required) if isinstance(required, list) else ()
    return [name for name in names if isinstance(name, str)]
