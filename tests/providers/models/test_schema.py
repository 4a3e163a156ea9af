"""Values that satisfy a schema, judged by an independent implementation."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tertulia.providers.base import Prompt, Turn
from tertulia.providers.models import schema as schemas
from tertulia.providers.models.scripted import ScriptedModel

BOUNDS = st.tuples(st.integers(0, 4), st.integers(0, 4)).map(sorted)
NUMBERS = st.tuples(st.integers(-9, 9), st.integers(-9, 9)).map(sorted)
LEAVES = st.one_of(
    BOUNDS.map(lambda b: {"type": "string", "minLength": b[0], "maxLength": b[1]}),
    NUMBERS.map(lambda b: {"type": "integer", "minimum": b[0], "maximum": b[1]}),
    NUMBERS.map(lambda b: {"type": "number", "maximum": b[1]}),
    st.just({"type": "boolean"}),
    st.just({"type": ["null", "string"]}),
    st.just({"const": 7}),
    st.lists(st.text(max_size=5), min_size=1, max_size=4).map(lambda keys: {"type": "string", "enum": keys}),
)


def _deeper(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    properties = st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    return st.one_of(
        st.builds(lambda item, b: {"type": "array", "items": item, "minItems": b[0], "maxItems": b[1]}, inner, BOUNDS),
        properties.map(lambda p: {"type": "object", "properties": p, "required": sorted(p)[:2]}),
        properties.map(lambda p: {"type": "object", "properties": p, "additionalProperties": False}),
        st.lists(inner, min_size=1, max_size=2).map(lambda options: {"anyOf": options}),
    )


SCHEMAS = st.recursive(LEAVES, _deeper, max_leaves=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=6,
)


@given(schema=SCHEMAS)
async def test_a_choice_of_the_scripted_model_satisfies_any_schema(schema: dict[str, Any]):
    value = await ScriptedModel().choose(Prompt("Any", "", [Turn("user", "Hi")]), schema)
    jsonschema.validate(value, schema)
    assert schemas.fits(value, schema)


@given(schema=SCHEMAS, value=VALUES)
def test_a_value_fits_just_when_it_is_valid(schema: dict[str, Any], value: Any):
    assert schemas.fits(value, schema) == jsonschema.Draft202012Validator(schema).is_valid(value)


@given(schema=SCHEMAS, value=VALUES)
def test_what_fits_the_strict_form_fits(schema: dict[str, Any], value: object):
    assert schemas.fits(value, schema) or not schemas.fits(value, schemas.strict(schema))


@pytest.mark.parametrize("kind", ["integer", "number"])
@pytest.mark.parametrize("number", [float("inf"), float("nan"), 10**300, -(2**63)])
def test_a_number_that_does_not_fit_in_64_bits_is_none(number: float, kind: str):
    assert not schemas.fits(number, {"type": kind})


@pytest.mark.parametrize(
    ("least", "most"), [("minItems", "maxItems"), ("minLength", "maxLength"), ("minimum", "maximum")]
)
def test_a_schema_that_nothing_can_satisfy_has_a_problem(least: str, most: str):
    assert schemas.problem_of_result_schema({"properties": {"a": {least: 3, most: 3}}}) is None
    problem = schemas.problem_of_result_schema({"properties": {"a": {least: 3, most: 2}}})
    assert problem is not None
    assert problem.startswith("properties.a: ")
