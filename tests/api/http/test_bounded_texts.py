"""Texts, numbers and JSON of any size: stored so that they can be read, or refused with the field named."""

from typing import Any

import httpx2
import pytest

from support.samples import a_name, make_agent
from support.server import Server


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def set_of(**config: Any) -> dict[str, Any]:
    return {"version_set": {"llm_model_preferences": {"EngageUser": {"llm_name": "scripted", **config}}}}


BOUNDS = "body.version_set"

PARAMS = {
    "a megabyte": ({"a": "x" * 1_000_000}, BOUNDS),
    "many keys": ({f"k{number}": number for number in range(100_000)}, BOUNDS),
    "deep": ({"a": nested(50)}, BOUNDS),
    "deeper": ({"a": nested(250)}, "body"),
    "a huge number": ({"a": 10**30}, "body"),
    "a NUL": ({"a": "x\0y"}, "body"),
    "a NUL in a key": ({"x\0y": 1}, "body"),
}


@pytest.mark.parametrize(("params", "place"), PARAMS.values(), ids=PARAMS.keys())
def test_parameters_that_could_not_be_read_again_are_refused(tertulia: Server, params: Any, place: str) -> None:
    path = f"/service/{tertulia.demo.service_id}/version_sets/wild/"
    answer = tertulia.as_admin.put(path, json=set_of(params=params))
    assert answer.status_code == 422, answer.text
    assert ".".join(answer.json()["detail"][0]["loc"]) == place
    assert tertulia.as_admin.get("/service/").status_code == 200


def test_parameters_within_the_bounds_come_back_as_they_were(tertulia: Server) -> None:
    path = f"/service/{tertulia.demo.service_id}/version_sets/calm/"
    params = {"temperature": 0.5, "deep": nested(10), "big": 2**53, "text": "é\u2028" * 100}
    assert tertulia.as_admin.put(path, json=set_of(params=params)).status_code == 204
    (service,) = tertulia.as_admin.get("/service/", params={"id": tertulia.demo.service_id}).json()["services"]
    assert service["version_sets"]["calm"]["llm_model_preferences"]["EngageUser"]["params"] == params


@pytest.mark.parametrize("number", [2**31, -(2**31), 2**63, 10**30])
def test_a_number_of_a_version_that_no_database_holds_is_refused(tertulia: Server, number: int) -> None:
    path = f"/service/{tertulia.demo.service_id}/version_sets/far/"
    body: dict[str, Any] = {"version_set": {"agent_version_number": number, "llm_model_preferences": {}}}
    assert tertulia.as_admin.put(path, json=body).status_code == 422
    assert (
        tertulia.as_admin.get(f"/organization/agent/{'0' * 24}/version", params={"version": number}).status_code == 422
    )


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/service/{service}/", {"name": "x" * 4000}),
        ("POST", "/service/{service}/", {"tags": {"k": "v" * 4000}}),
        ("POST", "/service/{service}/", {"tags": {"k" * 4000: "v"}}),
        ("POST", "/service/{service}/", {"keyterms": ["k" * 4000]}),
        ("POST", "/service/{service}/", {"description": "x" * 200_000}),
        ("POST", "/organization/agent", {"agent_name": "x" * 4000}),
        ("POST", "/organization/service_hierarchical_state_machine", {"state_machine_name": "x" * 4000}),
        ("POST", "/user/{user}", {"first_name": "x" * 4000}),
        ("POST", "/user/{user}", {"additional_context": ["x"] * 1001}),
        ("POST", "/conversation/{nothing}/tags/", {"deletes": ["x"] * 1001}),
        ("POST", "/conversation/?response_format=text", {"service_id": "0" * 24, "initial_message": "x" * 200_000}),
        ("POST", "/conversation/?response_format=text", {"service_id": "0" * 24, "tags": {"k": "v" * 101}}),
    ],
)
def test_a_text_or_list_that_is_too_long_is_named(tertulia: Server, method: str, path: str, body: Any) -> None:
    demo = tertulia.demo
    address = path.format(service=demo.service_id, user=demo.user_id, nothing="0" * 24)
    answer = tertulia.as_admin.request(method, address, json=body)
    assert answer.status_code == 422
    (problem,) = answer.json()["detail"]
    assert problem["loc"][1] == list(body)[-1]
    assert "at most" in problem["msg"]


def test_a_message_that_is_too_long_is_named(as_user: httpx2.Client) -> None:
    parts = {"initial_message_type": (None, "user-message"), "recorded_message": (None, "x" * 200_000)}
    answer = as_user.post(f"/conversation/{'0' * 24}/interact?request_format=text&response_format=text", files=parts)
    assert (answer.status_code, answer.json()["message"]) == (
        422,
        "recorded_message: This must have at most 100000 characters.",
    )


def test_names_as_long_as_they_may_be_are_stored(as_admin: httpx2.Client) -> None:
    agent = as_admin.post("/organization/agent", json={"agent_name": a_name().ljust(256, "é")})
    assert agent.status_code == 201
    assert make_agent(as_admin)
