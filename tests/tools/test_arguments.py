"""Arguments are judged by any schema, and no schema makes that take long: nothing else goes on meanwhile."""

import time
from typing import Any

import pytest

from tertulia.tools import arguments
from tertulia.tools.arguments import problem_of_arguments, problem_of_schema

Json = dict[str, Any]

MOST_S = 0.3
"""Seconds of the processor for which any arguments may be judged: three times the bound, for a slow machine."""


def doubling(levels: int, keyword: str = "anyOf") -> Json:
    """Make a schema whose last part is applied twice as often with each level."""
    parts: Json = {"p0": {"required": ["x"]}}
    for level in range(1, levels + 1):
        before = {"$ref": f"#/$defs/p{level - 1}"}
        parts[f"p{level}"] = {keyword: [before, dict(before)]}
    return {"type": "object", "$defs": parts, "$ref": f"#/$defs/p{levels}"}


def left_over(levels: int) -> Json:
    """Make a schema of which each level is gone through once more for what the others have not named."""
    part: Json = {}
    for _ in range(levels):
        part = {"allOf": [part], "unevaluatedProperties": False}
    return {"type": "object", **part}


def of(**properties: Json) -> Json:
    return {"type": "object", "properties": properties}


TREE = {
    "type": "object",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "left": {"$ref": "#/$defs/node"},
                "right": {"$ref": "#/$defs/node"},
                "id": {"type": "string"},
            },
        }
    },
    "properties": {"root": {"$ref": "#/$defs/node"}},
}
EXPRESSION = {
    "type": "object",
    "definitions": {
        "it": {
            "anyOf": [
                {"type": "number"},
                {
                    "properties": {
                        "op": {"const": "and"},
                        "of": {"type": "array", "items": {"$ref": "#/definitions/it"}},
                    },
                    "type": "object",
                },
                {
                    "properties": {
                        "op": {"const": "or"},
                        "of": {"type": "array", "items": {"$ref": "#/definitions/it"}},
                    },
                    "type": "object",
                },
            ]
        }
    },
    "properties": {"it": {"$ref": "#/definitions/it"}},
}


def nested(levels: int) -> Json:
    value: Any = 1
    for _ in range(levels):
        value = {"op": "or", "of": [value]}
    return {"it": value}


def chain(levels: int) -> Json:
    value: Json = {"id": "the last"}
    for _ in range(levels):
        value = {"left": value}
    return {"root": value}


@pytest.mark.parametrize(
    ("schema", "given"),
    [
        (doubling(4), {"x": 1}),
        (TREE, chain(40)),
        (EXPRESSION, nested(5)),
        (left_over(3), {}),
        (of(day={"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"}), {"day": "2026-01-31", "text": "x" * 20_000}),
        (of(numbers={"type": "array", "items": {"type": "integer"}}), {"numbers": list(range(100_000))}),
        (of(a={"$ref": "#/properties/b~1c"}, **{"b/c": {"type": "string"}}), {"a": "x"}),
        ({"type": "object", "properties": {"schema": {"$ref": "#"}}}, {"schema": {"schema": {}}}),
    ],
)
def test_schemas_as_people_write_them_judge_arguments(schema: Json, given: Json) -> None:
    assert problem_of_schema(schema) is None
    assert problem_of_arguments(given, schema) is None


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        (doubling(20), "too often"),
        (doubling(30, "allOf"), "too often"),
        (left_over(20), "too often"),
        ({"type": "object", "$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "back to itself"),
        ({"type": "object", "allOf": [{"$ref": "#"}]}, "back to itself"),
        ({"type": "object", "$ref": "#/$defs/none"}, "leads nowhere"),
        ({"type": "object", "$ref": "https://elsewhere.example/schema"}, "places within it"),
        ({"type": "object", "$dynamicRef": "#"}, "places within it"),
        (of(a={"$id": "https://elsewhere.example/", "$ref": "#/$defs/b"}), "identifier"),
        (of(a={"pattern": r"(\w{100}){50}"}), "regex"),
        (of(a={"pattern": r"\p{L}{1000}"}), "regex"),
    ],
)
def test_a_schema_that_would_hold_the_process_is_refused(schema: Json, words: str) -> None:
    began = time.thread_time()

    problem = problem_of_schema(schema)

    assert words in str(problem)
    assert time.thread_time() - began < MOST_S


@pytest.mark.parametrize(
    ("schema", "given"),
    [
        (doubling(30), {}),  # as an earlier version has stored it
        (EXPRESSION, nested(30)),
        (of(a={"pattern": "[ab]*a[ab]{60}c"}), {"a": "ab" * 500_000}),
        (of(a={"items": {"anyOf": [{"items": {"type": "null"}}] * 200}}), {"a": [[1] * 100] * 1000}),
        (of(), {"a": [[]] * 1_000_000}),
    ],
)
def test_arguments_that_would_hold_the_process_are_refused(schema: Json, given: Json) -> None:
    began = time.thread_time()

    assert problem_of_arguments(given, schema) is not None
    assert time.thread_time() - began < MOST_S


def test_of_much_work_the_outcome_alone_is_told() -> None:
    schema = of(numbers={"items": {"anyOf": [{"type": "null"}, {"type": "string"}]}})
    few, many = {"numbers": [1]}, {"numbers": [1] * arguments.MOST_WORK_TO_TELL}

    assert str(problem_of_arguments(few, schema)).startswith("numbers.0: ")
    assert problem_of_arguments(many, schema) == "The arguments do not fit the schema of the tool."
