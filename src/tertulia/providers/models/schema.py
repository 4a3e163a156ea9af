"""The part of JSON Schema that the engine asks answers in.

Known keywords: type, enum, const, anyOf, properties, required, additionalProperties (false or a schema), items,
minItems, maxItems, minLength, maxLength, minimum, maximum. Others are passed on to the model and not checked here.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

Schema = Mapping[str, Any]

NOTHING: Schema = {"type": "object", "properties": {}}
"""The schema of an object of which nothing is known."""


def _is_number(value: object) -> bool:
    """Judge a value. Return True for a number that every database and client can hold, in 64 bits and finite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**63


_KINDS: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and (isinstance(value, int) or value.is_integer()),
    "number": _is_number,
    "null": lambda value: value is None,
}


_BOUNDS = (("minItems", "maxItems"), ("minLength", "maxLength"), ("minimum", "maximum"))


def problem_of_result_schema(schema: object, place: str = "", depth: int = 0) -> str | None:
    """Look for what `fits` would not understand in a schema from outside. Return it in words, its place first, or None.

    References are none of what is understood, so nothing is fetched.
    """
    where = place or "The schema"
    if not isinstance(schema, dict):
        return f"{where}: a schema is an object."
    if depth > MOST_DEPTH:
        return f"{where}: schemas are at most {MOST_DEPTH} deep."
    given = cast("dict[str, Any]", schema)
    problem = _problem_of_keywords(given, where)
    if problem is not None:
        return problem
    for name, inner in _inner(given):
        problem = problem_of_result_schema(inner, f"{place}.{name}" if place else name, depth + 1)
        if problem is not None:
            return problem
    return None


def _problem_of_keywords(schema: Mapping[str, Any], where: str) -> str | None:
    for keyword, value in schema.items():
        test = _KEYWORDS.get(keyword)
        if test is None:
            return f"{where}: the keyword {keyword[:100]} is not known here; known are {', '.join(_KEYWORDS)}."
        if not test(value):
            return f"{where}: the value of {keyword} is none that it can have."
    for least, most in _BOUNDS:
        if least in schema and most in schema and schema[least] > schema[most]:
            return f"{where}: {least} is greater than {most}, so no value can satisfy it."
    return None


def _inner(schema: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """Walk over the schemas within a schema. Yield each with its place."""
    for name, inner in schema.get("properties", {}).items():
        yield f"properties.{name[:100]}", inner
    if "items" in schema:
        yield "items", schema["items"]
    if isinstance(schema.get("additionalProperties"), dict):
        yield "additionalProperties", schema["additionalProperties"]
    for number, inner in enumerate(schema.get("anyOf", ())):
        yield f"anyOf.{number}", inner


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST_COUNT


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in cast("list[object]", value))


def _are_kinds(value: object) -> bool:
    if isinstance(value, str):
        return value in _KINDS
    return bool(value) and _are_texts(value) and all(kind in _KINDS for kind in cast("list[str]", value))


def _is_filled_list(value: object) -> bool:
    return isinstance(value, list) and bool(cast("list[object]", value))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _is_bounded(value: object) -> bool:
    return _is_number(value) and math.isfinite(cast("float", value))


MOST_DEPTH = 6
"""Schemas within each other that a schema from outside may have."""

_MOST_COUNT = 100_000

_KEYWORDS: dict[str, Callable[[object], bool]] = {
    "$schema": _is_text,
    "additionalProperties": lambda value: isinstance(value, bool | dict),
    "anyOf": _is_filled_list,
    "const": lambda _value: True,
    "description": _is_text,
    "enum": _is_filled_list,
    "items": _is_object,
    "maxItems": _is_count,
    "maxLength": _is_count,
    "maximum": _is_bounded,
    "minItems": _is_count,
    "minLength": _is_count,
    "minimum": _is_bounded,
    "properties": _is_object,
    "required": _are_texts,
    "title": _is_text,
    "type": _are_kinds,
}


def fits(value: object, schema: Schema) -> bool:
    """Judge a decoded JSON value: does it satisfy a schema?"""
    kinds = _kinds(schema)
    return (
        (not kinds or any(_KINDS[kind](value) for kind in kinds))
        and ("enum" not in schema or any(_same(value, other) for other in schema["enum"]))
        and ("const" not in schema or _same(value, schema["const"]))
        and ("anyOf" not in schema or any(fits(value, option) for option in schema["anyOf"]))
        and _inside_fits(value, schema)
    )


def example(schema: Schema, pick: Callable[[Sequence[Any]], Any], texts: Sequence[str]) -> Any:
    """Make a small value that satisfies a schema. Return it: `pick` chose from each enum, `texts` are its strings."""
    return _Example(pick, texts).of(schema)


def strict(schema: Schema) -> dict[str, Any]:
    """Narrow a schema to what strict decoding takes. Return one that requires every property and allows no other."""
    narrowed = dict(schema)
    if "properties" in schema:
        narrowed["properties"] = {name: strict(item) for name, item in schema["properties"].items()}
        narrowed |= {"required": list(schema["properties"]), "additionalProperties": False}
    if "items" in schema:
        narrowed["items"] = strict(schema["items"])
    if "anyOf" in schema:
        narrowed["anyOf"] = [strict(option) for option in schema["anyOf"]]
    return narrowed


def _inside_fits(value: object, schema: Schema) -> bool:
    if isinstance(value, dict):
        return _object_fits(cast("dict[str, Any]", value), schema)
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return _within(len(items), schema, "minItems", "maxItems") and all(
            fits(item, schema.get("items", {})) for item in items
        )
    if isinstance(value, str):
        return _within(len(value), schema, "minLength", "maxLength")
    return not _is_number(value) or _within(value, schema, "minimum", "maximum")


def _object_fits(value: dict[str, Any], schema: Schema) -> bool:
    properties: Schema = schema.get("properties", {})
    others: Schema | bool = schema.get("additionalProperties", True)
    return all(name in value for name in schema.get("required", ())) and all(
        fits(item, properties[name]) if name in properties else _other_fits(item, others)
        for name, item in value.items()
    )


def _other_fits(value: object, others: Schema | bool) -> bool:
    return others if isinstance(others, bool) else fits(value, others)


class _Example:
    def __init__(self, pick: Callable[[Sequence[Any]], Any], texts: Sequence[str]) -> None:
        self._pick = pick
        self._texts = texts
        self._used = 0

    def of(self, schema: Schema) -> Any:
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._pick(schema["enum"])
        if "anyOf" in schema:
            return self.of({**schema["anyOf"][0], **{key: item for key, item in schema.items() if key != "anyOf"}})
        kinds = _kinds(schema) or ("null",)
        return _MAKERS[kinds[0]](self, schema)

    def an_object(self, schema: Schema) -> dict[str, Any]:
        properties: Schema = schema.get("properties", {})
        return {name: self.of(properties.get(name, {})) for name in schema.get("required", ())}

    def an_array(self, schema: Schema) -> list[Any]:
        count = schema.get("minItems", min(3, schema.get("maxItems", 3)))
        return [self.of(schema.get("items", {})) for _ in range(count)]

    def a_string(self, schema: Schema) -> str:
        text = self._texts[self._used % len(self._texts)]
        self._used += 1
        return text.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]

    def a_number(self, schema: Schema) -> float:
        return schema.get("minimum", min(0, schema.get("maximum", 0)))

    def an_integer(self, schema: Schema) -> int:
        return math.ceil(schema["minimum"]) if "minimum" in schema else math.floor(self.a_number(schema))


_MAKERS: dict[str, Callable[[_Example, Schema], Any]] = {
    "object": _Example.an_object,
    "array": _Example.an_array,
    "string": _Example.a_string,
    "boolean": lambda _example, _schema: True,
    "integer": _Example.an_integer,
    "number": _Example.a_number,
    "null": lambda _example, _schema: None,
}


def _kinds(schema: Schema) -> Sequence[str]:
    kinds = schema.get("type", ())
    return (kinds,) if isinstance(kinds, str) else kinds


def _within(size: Any, schema: Schema, low: str, high: str) -> bool:
    return schema.get(low, size) <= size <= schema.get(high, size)


def _same(value: object, other: object) -> bool:
    """Compare two values as JSON does, for which true is not 1. Return if they are equal."""
    return value == other and isinstance(value, bool) == isinstance(other, bool)
