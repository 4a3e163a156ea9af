"""A tool's manifest says what it wants; a wrong one is refused in one line that names the field."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tertulia.errors import BadTool
from tertulia.tools import manifest
from tertulia.tools.manifest import BOUNDS, HostPort, Limits, Manifest

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
HOSTS = st.builds(HostPort, st.lists(LABELS, min_size=1, max_size=4).map(".".join), st.integers(1, 65_535))
VARIABLES = st.lists(st.from_regex(r"[A-Z_][A-Z0-9_]{0,19}", fullmatch=True), max_size=6, unique=True)
MANIFESTS = st.builds(
    lambda variables, split, **rest: Manifest(plain=tuple(variables[:split]), secret=tuple(variables[split:]), **rest),
    variables=VARIABLES,
    split=st.integers(0, 6),
    name=st.from_regex(r"[a-z0-9_]{1,64}", fullmatch=True),
    input_schema=st.just(SCHEMA),
    description=st.text("abc é\n", max_size=50).map(str.strip),
    entry=st.sampled_from(["tool:run", "package.tool:book"]),
    confirm=st.booleans(),
    limits=st.builds(Limits, **{key: st.integers(*bounds) for key, bounds in BOUNDS.items()}),
    hosts=st.lists(HOSTS, max_size=4, unique=True).map(tuple),
)


def refusal(definition: dict[str, Any]) -> str:
    with pytest.raises(BadTool) as caught:
        manifest.read({"name": "a", "input_schema": SCHEMA} | definition)
    return caught.value.detail


@given(MANIFESTS)
def test_a_manifest_is_the_same_after_it_was_written_as_json(given: Manifest) -> None:
    assert manifest.read(json.loads(json.dumps(given.definition()))) == given


@given(st.dictionaries(st.sampled_from(["name", "input_schema", "limits", "network", "entry", "x"]) | st.text(), JSON))
def test_whatever_a_manifest_holds_it_is_read_or_refused_in_one_short_line(definition: dict[str, Any]) -> None:
    told = "tool.toml: "
    try:
        manifest.read(definition)
    except BadTool as error:
        told = error.detail
    assert told.startswith("tool.toml: ")
    assert len(told) <= 1000


@given(st.text(), st.none() | st.text())
def test_a_text_that_is_no_manifest_is_refused_in_one_line(text: str, schema: str | None) -> None:
    with pytest.raises(BadTool, match=r"^(tool.toml|input_schema.json): "):
        manifest.parse(text, schema)


@pytest.mark.parametrize(
    ("text", "schema", "told"),
    [
        ("a" + ".a" * 50_000 + " = 1", None, "line 1: must have at most 100 dots"),
        ("\n" + '"\N{LINE SEPARATOR}".' * 6000 + "a = 1", None, "line 2: must have at most 100 dots"),
        ("".join(f"[{'.'.join('p' * depth)}]\n" for depth in range(1, 800)), None, "at most 128000 characters"),
        ("", "[" * 200_000, "at most 128000 characters"),
    ],
)
def test_a_text_that_takes_its_reader_minutes_is_not_read(text: str, schema: str | None, told: str) -> None:
    with pytest.raises(BadTool, match=told):
        manifest.parse(text, schema)


def test_a_manifest_of_two_lines_has_the_narrow_defaults() -> None:
    read = manifest.parse('name = "weather"', json.dumps(SCHEMA))

    assert (read.module, read.function, read.confirm) == ("tool", "run", False)
    assert (read.limits, read.hosts, read.plain, read.secret) == (Limits(), (), (), ())
    assert read.limits.memory_mb == 256


def test_a_schema_stands_in_the_manifest_or_beside_it_and_not_in_both() -> None:
    text = 'name = "weather"\n[input_schema]\ntype = "object"'

    assert manifest.parse(text).input_schema == {"type": "object"}
    with pytest.raises(BadTool, match="keep one"):
        manifest.parse(text, json.dumps(SCHEMA))


@pytest.mark.parametrize(
    ("definition", "field"),
    [
        ({"name": None}, "name"),
        ({"name": "Weather"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"name": "a\n"}, "name"),
        ({"entry": "tool"}, "entry"),
        ({"entry": "../tool:run"}, "entry"),
        ({"entry": "tool:class"}, "entry"),
        ({"confirm": "yes"}, "confirm"),
        ({"limits": []}, "limits"),
        ({"limits": {"memory_mb": 0}}, "limits.memory_mb"),
        ({"limits": {"memory_mb": True}}, "limits.memory_mb"),
        ({"limits": {"wall_seconds": 1e9}}, "limits.wall_seconds"),
        ({"limits": {"memory": 5}}, "limits.memory"),
        ({"network": {"hosts": "a.example"}}, "network.hosts"),
        ({"network": {"hosts": ["a.example", "https://b.example/"]}}, "network.hosts[1]"),
        ({"network": {"hosts": ["*"]}}, "network.hosts[0]"),
        ({"network": {"hosts": ["a:0"]}}, "network.hosts[0]"),
        ({"network": {"hosts": ["a:99999"]}}, "network.hosts[0]"),
        ({"network": {"hosts": [7]}}, "network.hosts[0]"),
        ({"environment": {"plain": ["key"]}}, "environment.plain[0]"),
        ({"environment": {"plain": ["3KEY"]}}, "environment.plain[0]"),
        ({"environment": {"plain": ["KEY"], "secret": ["KEY"]}}, "environment.secret"),
        ({"input_schema": {"type": "array"}}, "input_schema.type"),
        ({"input_schema": {"type": "object", "default": float("nan")}}, "input_schema"),
        ({"input_schema": {"type": "object", "title": "x" * 70_000}}, "input_schema"),
        ({"memory": 1}, "memory"),
    ],
)
def test_a_wrong_field_is_named(definition: dict[str, Any], field: str) -> None:
    assert refusal(definition).startswith(f"tool.toml: {field}: ")
