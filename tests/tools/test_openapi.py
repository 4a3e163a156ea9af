"""Operations of OpenAPI documents become tools that say what they need, or are refused at their place."""

import copy
import json
from collections.abc import Mapping
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tertulia.app import create_app
from tertulia.settings import Settings
from tertulia.tools.definitions import HttpOperation
from tertulia.tools.names import named_apart, tool_name
from tertulia.tools.openapi import tools_of
from tertulia.tools.schemas import DocumentWrong

WEATHER: Mapping[str, Any] = {
    "openapi": "3.0.3",
    "servers": [{"url": "https://{region}.weather.example/v2/", "variables": {"region": {"default": "eu"}}}],
    "security": [{"apiKey": []}],
    "paths": {
        "/cities/{city}": {
            "parameters": [{"$ref": "#/components/parameters/city"}],
            "get": {
                "operationId": "getWeather",
                "summary": "Tell the weather.",
                "parameters": [
                    {
                        "name": "units",
                        "in": "query",
                        "schema": {"type": "string", "enum": ["c", "f"], "nullable": True},
                    },
                    {"name": "days", "in": "query", "explode": False, "schema": {"type": "array", "items": {}}},
                    {"name": "Accept", "in": "header", "schema": {"type": "string"}},
                    {"name": "track", "in": "cookie", "schema": {"type": "string"}},
                ],
            },
            "post": {
                "operationId": "get-weather",
                "security": [{"login": []}],
                "requestBody": {"$ref": "#/components/requestBodies/report"},
            },
        },
        "/old": {"get": {"operationId": "old", "deprecated": True}},
        "/tree": {
            "put": {
                "security": [],
                "requestBody": {
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Tree"}}},
                },
            }
        },
    },
    "components": {
        "parameters": {"city": {"name": "city", "in": "path", "required": True, "schema": {"type": "string"}}},
        "requestBodies": {
            "report": {
                "required": True,
                "content": {
                    "text/plain": {},
                    "application/json": {
                        "schema": {
                            "allOf": [
                                {"$ref": "#/components/schemas/Base"},
                                {"properties": {"rain": {"type": "number", "minimum": 0, "exclusiveMinimum": True}}},
                            ]
                        }
                    },
                },
            }
        },
        "schemas": {
            "Base": {"type": "object", "required": ["at"], "properties": {"at": {"type": "string", "example": "now"}}},
            "Tree": {"type": "object", "properties": {"left": {"$ref": "#/components/schemas/Tree"}}},
        },
        "securitySchemes": {
            "apiKey": {"type": "apiKey", "name": "X-Key", "in": "header"},
            "login": {"type": "http", "scheme": "basic"},
        },
    },
}


def test_operations_become_tools():
    get, post, put = tools_of(WEATHER)
    assert [tool.name for tool in (get, post, put)] == ["get_weather", "get_weather_2", "put_tree"]
    assert (get.description, put.description) == ("Tell the weather.", "PUT /tree")
    assert get.definition == {
        "method": "GET",
        "url": "https://eu.weather.example/v2/cities/{city}",
        "parameters": [
            {"name": "city", "in": "path", "explode": False},
            {"name": "units", "in": "query"},
            {"name": "days", "in": "query", "explode": False},
            {"name": "X-Key", "in": "header", "variable": "API_KEY"},
        ],
    }
    assert get.input_schema["properties"]["units"] == {"type": ["string", "null"], "enum": ["c", "f", None]}
    assert get.input_schema["required"] == ["city"]
    assert post.definition["authorization"] == {"basic": {"user": "LOGIN_USER", "password": "LOGIN_PASSWORD"}}
    assert post.definition["body"] == {"format": "json"}
    assert post.input_schema == {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "at": {"type": "string", "examples": ["now"]},
            "rain": {"type": "number", "exclusiveMinimum": 0},
        },
        "required": ["city", "at"],
        "additionalProperties": False,
    }
    assert put.input_schema["properties"] == {"left": {}}
    assert "authorization" not in put.definition


def test_one_operation_is_chosen_by_its_id_and_an_address_goes_before_the_servers():
    (tool,) = tools_of(WEATHER, ["old"], "http://127.0.0.1:8080/api/")
    assert tool.definition["url"] == "http://127.0.0.1:8080/api/old"


def test_bodies_that_are_no_plain_objects_are_one_argument():
    document = copy.deepcopy(dict(WEATHER))
    schema = {"type": "array", "items": {"type": "integer"}}
    document["paths"] = {
        "/{body}": {
            "post": {
                "parameters": [{"name": "body", "in": "path", "required": True, "schema": {}}],
                "requestBody": {"required": True, "content": {"application/vnd.api+json": {"schema": schema}}},
            }
        }
    }
    (tool,) = tools_of(document)
    assert tool.definition["body"] == {"format": "json", "argument": "request_body"}
    assert tool.input_schema["properties"]["request_body"] == schema


def test_this_server_s_own_document_becomes_tools():
    document = create_app(Settings()).openapi()
    forms = {"interact-with-conversation", "publish-tool-archive", "live-conversation"}  # of other types
    ids = [one["operationId"] for item in document["paths"].values() for one in item.values()]
    tools = tools_of(document, set(ids) - forms, base_url="https://tertulia.example")
    assert len(tools) > 30
    for tool in tools:
        assert HttpOperation.model_validate(tool.definition)
        jsonschema_rs.validator_for(dict(tool.input_schema))
        assert len(json.dumps(tool.input_schema)) < 200_000


def changed(*steps: str, to: Any) -> dict[str, Any]:
    document = copy.deepcopy(dict(WEATHER))
    *before, last = steps
    at = document
    for step in before:
        at = at[step]
    at[last] = to
    return document


GET = ("paths", "/cities/{city}", "get")
BOTH = [
    {"properties": {side: {"$ref": f"#/components/schemas/s{number + 1}"} for side in "ab"}} for number in range(40)
]
WIDE = {f"s{number}": schema for number, schema in enumerate([*BOTH, {}])}


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({}, ("openapi",)),
        ({"swagger": "2.0"}, ("openapi",)),
        ({"openapi": "3.1.0", "paths": []}, ("paths",)),
        ({"openapi": "3.1.0", "paths": {"/a": 5}}, ("paths", "/a")),
        ({"openapi": "3.1.0", "paths": {"/a": {"get": {}}}}, ("servers",)),
        (changed("servers", to=[{"url": "/relative"}]), ("servers", 0, "url")),
        (changed("servers", to=[{"url": "file:///etc"}]), ("servers", 0, "url")),
        (changed(*GET, "parameters", to=[{"$ref": "https://evil.example/x"}]), (*GET, "parameters", 0, "$ref")),
        (changed(*GET, "parameters", to=[{"$ref": "#/nowhere"}]), (*GET, "parameters", 0, "$ref")),
        (changed(*GET, "parameters", to=[{"name": "c", "in": "cookie", "required": True}]), (*GET, "parameters", 0)),
        (changed(*GET, "parameters", to=[{"name": "Host", "in": "header", "required": True}]), GET),
        (changed(*GET, "parameters", to={}), (*GET, "parameters")),
        (changed(*GET, "security", to=[{"absent": []}]), ("components", "securitySchemes", "absent")),
        (changed("paths", to={"/a/{b}": {"get": {}}}), ("paths", "/a/{b}", "get")),
        (changed("components", "parameters", "city", to={"$ref": "#/components/parameters/city"}), None),
        (changed("components", "schemas", to={**WIDE, "Base": {"$ref": "#/components/schemas/s0"}}), None),
    ],
)
def test_a_wrong_document_is_refused_at_its_place(document: Mapping[str, Any], place: tuple[str | int, ...] | None):
    with pytest.raises(DocumentWrong) as refusal:
        tools_of(document)
    assert refusal.value.text.endswith(".")
    if place is not None:
        assert refusal.value.place == place


def test_an_operation_that_is_not_there_is_named():
    with pytest.raises(DocumentWrong, match="no operation absent"):
        tools_of(WEATHER, ["getWeather", "absent"])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PLACES = [
    ("paths",),
    ("paths", "/cities/{city}"),
    GET,
    (*GET, "parameters"),
    ("components", "schemas", "Base"),
    ("components", "schemas", "Base", "properties"),
    ("components", "schemas", "Base", "required"),
    ("components", "requestBodies", "report"),
    ("components", "securitySchemes"),
    ("servers",),
    ("security",),
    ("components",),
]


@given(st.sampled_from(PLACES), JSON)
def test_nonsense_anywhere_is_refused_or_passed_over(place: tuple[str, ...], value: Any):
    try:
        tools = tools_of(changed(*place, to=value))
    except DocumentWrong as refusal:
        assert refusal.text  # noqa: PT017 - one of two good ends
    else:
        assert all(HttpOperation.model_validate(tool.definition) for tool in tools)


@given(st.lists(st.text(max_size=80), max_size=20))
def test_names_are_short_and_apart(texts: list[str]):
    names = named_apart(texts)
    assert len(set(names)) == len(names) == len(texts)
    assert all(name and len(name) <= 64 and set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_") for name in names)


def test_names_are_readable():
    assert [tool_name(text) for text in ("getWeather v2", "GET /a/{b}", "", "éé")] == [
        *("get_weather_v2", "get_a_b", "tool", "tool"),
    ]
