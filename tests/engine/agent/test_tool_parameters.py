"""The parameters of a tool, as a model is asked for them and as they come back."""

import json
import time
from typing import Any

import pytest

from tertulia.engine.agent.tool_parameters import MOST_NODES, asked, described, given
from tertulia.providers.models import schema as schemas

Json = dict[str, Any]

NULL = {"type": "null"}
TEXT = {"type": "string"}


def whole(**properties: Any) -> Json:
    """The schema of an object that requires all of its properties and allows no others."""
    form = {"type": "object", "properties": properties, "required": list(properties)}
    return {**form, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "form"),
    [
        ({}, whole()),
        ({"type": "object", "properties": {"a": TEXT}, "required": ["a"]}, whole(a=TEXT)),
        ({"properties": {"a": TEXT}}, whole(a={"anyOf": [TEXT, NULL]})),
        (
            {"properties": {"a": {"$ref": "#/$defs/b"}}, "required": ["a"], "$defs": {"b": {"enum": [1, 2]}}},
            whole(a={"enum": [1, 2]}),
        ),
        (
            {"properties": {"a": {"oneOf": [TEXT, {"type": "integer", "exclusiveMinimum": 0}]}}, "required": ["a"]},
            whole(a={"anyOf": [TEXT, {"type": "integer"}]}),
        ),
        (
            {"allOf": [{"properties": {"a": TEXT}, "required": ["a"]}, {"properties": {"b": TEXT}, "required": ["b"]}]},
            whole(b=TEXT, a=TEXT),
        ),
        ({"properties": {"a": {"$ref": "https://example.com/a"}}, "required": ["a"]}, whole(a={})),
        ({"properties": {"a": True, "b": None}, "required": ["a", "b"]}, whole(a={}, b={})),
        ({"properties": "none", "required": 3}, whole()),
    ],
)
def test_a_schema_is_asked_for_in_the_part_that_every_model_takes(schema: Json, form: Json) -> None:
    assert asked(schema) == form


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"properties": {"child": {"$ref": "#"}}, "required": ["child"]},
        {
            "properties": {name: {"$ref": "#/$defs/a"} for name in "abcdefgh"},
            "$defs": {"a": {"properties": {name: {"$ref": "#/$defs/a"} for name in "abcdefgh"}}},
        },
    ],
)
def test_a_schema_that_refers_to_itself_has_an_end(schema: Json) -> None:
    assert len(json.dumps(asked(schema))) < 200 * MOST_NODES
    given({"child": {"child": {"a": None}}}, schema)
    described(schema)


def test_parts_without_end_are_joined_up_to_a_bound() -> None:
    part = {"properties": {f"name{number}": {} for number in range(1500)}, "required": ["name0"] * 1500}
    joined = {"allOf": [{"$ref": "#/$defs/part"}] * 2000}
    schema = {"type": "object", "$defs": {"part": part}, "properties": {f"p{number}": joined for number in range(50)}}
    began = time.thread_time()

    assert "name0" in json.dumps(asked(schema))
    described(schema)
    given({"p1": {"name0": None}}, schema)

    assert time.thread_time() - began < 0.3


def test_nulls_of_parameters_that_were_not_given_are_taken_out_at_every_depth() -> None:
    nullable = {"type": ["string", "null"]}
    schema = {
        "type": "object",
        "properties": {
            "must": nullable,
            "may": TEXT,
            "who": {"type": "array", "items": {"properties": {"name": TEXT, "age": {"type": "integer"}}}},
        },
        "required": ["must"],
    }
    answer: Json = {"must": None, "may": None, "who": [{"name": "Ada", "age": None}], "more": None}
    assert given(answer, schema) == {"must": None, "who": [{"name": "Ada"}], "more": None}
    form = asked(schema)
    assert schemas.fits({"must": None, "may": None, "who": None}, form)
    assert not schemas.fits({"must": None}, form)


def test_parameters_are_described_on_a_line() -> None:
    day = {"enum": ["Monday", "Tuesday"], "description": "The\nday"}
    schema = {"properties": {"day": day, "hour": {"type": ["integer", "null"]}}, "required": ["day"]}
    assert described(schema) == "day (Monday or Tuesday): The day; hour (integer or null, optional)"
    assert described({"type": "object"}) == "none"
