"""Schemas of OpenAPI documents as JSON schemas that stand alone: references inside the document are written out.

OpenAPI 3.0 has a dialect of its own (https://spec.openapis.org/oas/v3.0.4.html#schema-object); 3.1 has JSON Schema's.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import unquote

Place = tuple[str | int, ...]

_DEEPEST = 30
_MOST_NODES = 20_000
_CHARS_OF_A_NODE = 100
_NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_LISTED = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_SINGLE = frozenset({"items", "additionalProperties", "not", "contains", "propertyNames", "if", "then", "else"})
_PLAIN = frozenset(
    {
        *("type", "enum", "const", "title", "description", "default", "format", "required"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minLength", "maxLength", "pattern", "minItems", "maxItems", "uniqueItems"),
        *("minProperties", "maxProperties", "dependentRequired", "examples"),
    }
)


class DocumentWrong(ValueError):
    """A document that no tool can be made of. `place` leads to the wrong part of it; the text is a sentence."""

    def __init__(self, place: Place, text: str) -> None:
        super().__init__(text)
        self.place = place
        self.text = text


class Document:
    """A document, whose references are followed. What is written out of it has a bound, for references can multiply."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self.content = content
        self._left = _MOST_NODES

    def resolved(self, value: object, place: Place) -> dict[str, Any]:
        """Follow a value that may be a reference, and a reference that may lead to another. Return the object.

        Raises:
            DocumentWrong: it leads out of the document, in a circle, or to no object.
        """
        for _ in range(_DEEPEST):
            if not isinstance(value, dict):
                raise DocumentWrong(place, "This must be an object.")
            found = cast("dict[str, Any]", value)
            reference = found.get("$ref")
            if reference is None:
                return found
            value = self._at(reference, place)
        raise DocumentWrong(place, "This reference leads in a circle.")

    def schema(self, value: object, place: Place) -> dict[str, Any]:
        """Write a schema with all that it refers to. Return it; a schema within itself is any value there.

        Raises:
            DocumentWrong: a reference leads nowhere, or the schema is too deep or too large.
        """
        return self._schema(value, place, ())

    def _schema(self, value: object, place: Place, within: tuple[str, ...]) -> dict[str, Any]:
        self._left -= 1
        if self._left < 0 or len(place) > 4 * _DEEPEST:
            raise DocumentWrong(place[:10], "The schemas of this document are too large or too deep, written out.")
        if isinstance(value, bool):
            return {} if value else {"not": {}}
        if not isinstance(value, dict):
            raise DocumentWrong(place, "A schema must be an object.")
        given = cast("dict[str, Any]", value)
        reference = given.get("$ref")
        if reference is not None:
            if reference in within:
                return {}
            beside = {key: item for key, item in given.items() if key != "$ref"}
            target = self._at(reference, place)
            merged = {**cast("dict[str, Any]", target), **beside} if isinstance(target, dict) else target
            return self._schema(merged, (*place, "$ref"), (*within, str(reference)))
        made = {key: item for key, item in given.items() if key in _PLAIN}
        self._left -= len(repr(made)) // _CHARS_OF_A_NODE
        for key, item in given.items():
            self._within(made, key, item, (*place, key), within)
        return _of_3_0(given, made)

    def _within(self, made: dict[str, Any], key: str, item: object, place: Place, within: tuple[str, ...]) -> None:
        """Write what stands in a schema under a keyword that holds schemas."""
        if key in _NAMED and isinstance(item, dict):
            named = cast("dict[str, object]", item)
            made[key] = {name: self._schema(one, (*place, name), within) for name, one in named.items()}
        elif key in _LISTED and isinstance(item, list):
            listed = cast("list[object]", item)
            made[key] = [self._schema(one, (*place, number), within) for number, one in enumerate(listed)]
        elif key in _SINGLE:
            made[key] = item if isinstance(item, bool) else self._schema(item, place, within)

    def _at(self, reference: object, place: Place) -> object:
        """Find what a reference names. Return it."""
        if not isinstance(reference, str) or not reference.startswith("#/"):
            raise DocumentWrong((*place, "$ref"), "A reference must be to a place in this document: #/...")
        found: object = self.content
        for step in reference[2:].split("/"):
            key = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and key in found:
                found = cast("dict[str, object]", found)[key]
            elif isinstance(found, list) and key.isdecimal() and int(key) < len(cast("Sequence[object]", found)):
                found = cast("list[object]", found)[int(key)]
            else:
                raise DocumentWrong((*place, "$ref"), "This reference leads nowhere.")
        return found


def _of_3_0(given: Mapping[str, Any], made: dict[str, Any]) -> dict[str, Any]:
    """Write what OpenAPI 3.0 says otherwise than JSON Schema, and leave out lists that are none. Return the schema."""
    if not _is_strings(made.get("required", [])):
        del made["required"]
    if not isinstance(made.get("enum", []), list):
        del made["enum"]
    for bound, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(made.get(bound), bool):
            exclusive = made.pop(bound)
            if exclusive and limit in made:
                made[bound] = made.pop(limit)
    if given.get("nullable") is True and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
    if "example" in given and "examples" not in made:
        made["examples"] = [given["example"]]
    return made


def _is_strings(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in cast("list[object]", value))
