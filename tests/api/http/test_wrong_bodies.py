"""Bodies that are wrong: the words of a refusal, and its bounds."""

import gzip
import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import httpx
import httpx2
import pytest
from amigo_sdk import errors as official
from pydantic_core import core_schema

from support.samples import a_name, make_agent
from tertulia import problems
from tertulia.api.behavior import NewBehaviorSet
from tertulia.api.http import bodies
from tertulia.api.organization.agent import AgentVersionChanges
from tertulia.api.service import NewService
from tertulia.api.user import Invitation, UserUpdate
from tertulia.engine.graph.context_graph import ContextGraph
from tertulia.errors import MOST_PROBLEMS, Unprocessable

AGENTS = "/organization/agent"
GRAPHS = "/organization/service_hierarchical_state_machine"
JSON = {"content-type": "application/json"}

PYTHON = re.compile(
    r"dict|None|tuple|\bstr\b|\bint\b|pydantic|Input should|instance of|codec|Error|function-|constrained|ctx"
)


def refusal(body: Any, kind: Any) -> Unprocessable | None:
    try:
        bodies.BodyReader(kind).read(body)
    except Unprocessable as error:
        return error
    return None


def refused(body: Any, kind: Any) -> Unprocessable:
    error = refusal(body, kind)
    assert error is not None
    return error


def places(error: Unprocessable) -> list[str]:
    return [".".join(map(str, problem["loc"])) for problem in error.problems]


# --- Words -----------------------------------------------------------------------------------------------------------


WRONG: tuple[Any, ...] = (
    None,
    True,
    5,
    1.5,
    10**30,
    "",
    "x\ny!",
    "é" * 3000,
    [],
    [[]],
    {},
    {"a": {}},
    [None],
    {"": None},
)


def mutants() -> Iterator[tuple[Any, Any]]:
    """Bodies in which each field is each kind of wrong value."""
    state = {"type": "decision", "exit_conditions": [{"next_state": "!"}]}
    for kind in (AgentVersionChanges, ContextGraph, NewBehaviorSet, NewService, Invitation, UserUpdate):
        for value in WRONG:
            yield kind, value
            yield kind, dict.fromkeys(kind.model_fields, value)
    for value in WRONG:
        yield ContextGraph, {"states": [value, {"type": value}, state, dict.fromkeys(("type", "name"), value)]}
        yield (
            ContextGraph,
            {"states": [{"type": "annotation", "next_state": [value, value]}], "references": {"a!": [value]}},
        )
        yield NewService, {"release_version_set": {"llm_model_preferences": {"x": {"params": value}}}}


def test_no_refusal_has_a_word_of_python_or_of_what_was_sent() -> None:
    errors = [error for kind, body in mutants() if (error := refusal(body, kind)) is not None]
    assert len(errors) > 100
    for error in errors:
        text = json.dumps(error.problems) + error.message
        assert not PYTHON.search(text), text
        assert "éé" not in error.message


def test_every_kind_of_problem_has_plain_words() -> None:
    names = (
        "pattern min_length max_length gt ge lt le multiple_of expected discriminator expected_tags expected_schemes"
    )
    context = dict.fromkeys(names.split(), "N")
    for kind in get_args(core_schema.ErrorType):
        text = problems.text_of({"type": kind, "ctx": {**context, "error": ValueError("Our own text.")}})
        assert text.startswith("Th") or text == "Our own text.", kind
        assert not PYTHON.search(text), kind


def test_a_place_is_the_way_through_what_was_sent_and_no_other() -> None:
    body = {
        "states": [
            {"type": "annotation", "name": "a", "inner_thought": "b", "next_state": "no name!"},
            {"type": "annotation", "name": "a", "inner_thought": "b", "next_state": ["x", "y"]},
        ],
        "references": {"not a name": ["0", 1]},
    }
    found = places(refused(body, ContextGraph))
    assert {"body.states.0.next_state", "body.states.1.next_state.0", "body.references.not a name"} <= set(found)
    assert len(found) == len(set(found))


def test_the_official_client_shows_what_is_wrong(as_admin: httpx2.Client) -> None:
    answer = as_admin.post(AGENTS, json={"agent_nme": "x"})

    raise_for_status: Any = official.raise_for_status  # it has no types
    with pytest.raises(official.ValidationError) as error:
        raise_for_status(httpx.Response(422, json=answer.json()))
    assert str(error.value) == "agent_name: This field is required. (HTTP 422)"


def test_the_parameters_of_an_address_are_told_as_plainly(as_admin: httpx2.Client) -> None:
    answer = as_admin.get("/service/?limit=x&id=1&id=2&is_active=perhaps")
    assert answer.json()["message"] == (
        "limit: This must be a whole number. id.0: This must match the pattern ^[a-f0-9]{24}$ "
        "id.1: This must match the pattern ^[a-f0-9]{24}$ is_active: This must be true or false."
    )


def test_a_wrong_body_and_a_wrong_query_are_told_at_once(as_admin: httpx2.Client) -> None:
    answer = as_admin.post(f"{AGENTS}/{make_agent(as_admin)}?version=x", json={"initials": "long"})
    assert [problem["loc"] for problem in answer.json()["detail"]] == [["query", "version"], ["body", "initials"]]


# --- Bounds ----------------------------------------------------------------------------------------------------------


def test_of_many_problems_the_first_are_told_and_the_others_counted() -> None:
    error = refused({"behaviors": [0] * 1000}, AgentVersionChanges)
    assert len(error.problems) == MOST_PROBLEMS + 1
    assert error.problems[-1]["msg"] == "980 more problems are not listed."
    assert error.message.endswith("980 more problems are not listed.")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (UserUpdate, {"additional_context": [0] * 900_000}),
        (AgentVersionChanges, {"behaviors": [0] * 400_000, "communication_patterns": [None] * 100_000}),
        (ContextGraph, {"states": [{"type": "action", "actions": [0] * 10_000}] * 80}),
        (Invitation, {"sensitive_user_variables": {f"{number}": number for number in range(100_000)}}),
    ],
)
def test_a_large_wrong_body_is_left_at_its_first_mistakes(kind: Any, body: Any) -> None:
    error = refused(body, kind)
    assert 1 <= len(error.problems) <= MOST_PROBLEMS
    assert len(json.dumps(error.problems)) < 5000


def test_names_that_a_caller_made_up_are_cut(as_admin: httpx2.Client) -> None:
    answer = as_admin.post(
        "/user/", json={"nonsensitive_user_variables": {"!" * 1_000_000: "x"}, "first_name": "x" * 500_000}
    )
    assert answer.status_code == 422
    assert len(answer.content) < 5000


# --- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "nonsense"])
def test_json_without_its_content_type_is_told_so(as_admin: httpx2.Client, kind: str | None) -> None:
    headers = {} if kind is None else {"content-type": kind}
    answer = as_admin.post(AGENTS, content=json.dumps({"agent_name": a_name()}).encode(), headers=headers)
    assert answer.status_code == 422
    assert answer.json()["message"].endswith("The body must be JSON, with the header Content-Type: application/json.")


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.x+json"])
def test_json_under_its_other_names_is_read(as_admin: httpx2.Client, kind: str) -> None:
    body = json.dumps({"agent_name": a_name()}).encode()
    assert as_admin.post(AGENTS, content=body, headers={"content-type": kind}).status_code == 201


def test_a_byte_order_mark_is_taken_off(as_admin: httpx2.Client) -> None:
    body = json.dumps({"agent_name": a_name()}).encode("utf-8-sig")
    assert as_admin.post(AGENTS, content=body, headers=JSON).status_code == 201


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "GZIP", "identity, gzip"])
def test_a_compressed_body_is_an_unsupported_medium(as_admin: httpx2.Client, encoding: str) -> None:
    body = gzip.compress(json.dumps({"agent_name": a_name()}).encode())
    answer = as_admin.post(AGENTS, content=body, headers={**JSON, "content-encoding": encoding})
    assert (answer.status_code, answer.json()) == (
        415,
        {"detail": "Send the body as it is, without Content-Encoding."},
    )


def test_a_compressed_form_is_an_unsupported_medium(as_user: httpx2.Client) -> None:
    answer = as_user.post(
        f"/conversation/{'0' * 24}/interact?request_format=text&response_format=text",
        content=b"x",
        headers={"content-type": "multipart/form-data; boundary=x", "content-encoding": "gzip"},
    )
    assert answer.status_code == 415


def test_json_that_is_not_utf_8_is_told_so(as_admin: httpx2.Client) -> None:
    answer = as_admin.post(AGENTS, content='{"agent_name": "ñ"}'.encode("latin-1"), headers=JSON)
    assert (answer.status_code, answer.json()["message"]) == (422, "body: This is not text in UTF-8.")


# --- Fields that are not known ---------------------------------------------------------------------------------------


def test_a_field_that_is_not_known_is_named_in_a_warning(as_admin: httpx2.Client) -> None:
    answer = as_admin.post(AGENTS, json={"agent_name": a_name(), "agent_nmae": "x", "é\n": 1})
    assert answer.status_code == 201
    assert answer.headers.get_list("x-tertulia-warning") == [
        "agent_nmae: this field is not known and was ignored.",
        "\\u00e9\\u000a: this field is not known and was ignored.",
    ]


def test_a_version_that_changes_nothing_is_made_and_warned_of(as_admin: httpx2.Client) -> None:
    agent_id = make_agent(as_admin)
    answer = as_admin.post(f"{AGENTS}/{agent_id}/", json={"behaviours": ["Be kind."]})
    assert (answer.status_code, answer.json()["version"]) == (201, 2)
    assert answer.headers.get_list("x-tertulia-warning") == [
        "This version is the same as the one before: no field was given.",
        "behaviours: this field is not known and was ignored.",
    ]


def test_nothing_is_warned_of_where_all_is_known(as_admin: httpx2.Client) -> None:
    assert "x-tertulia-warning" not in as_admin.post(AGENTS, json={"agent_name": a_name()}).headers


def test_fields_within_fields_are_compared_too() -> None:
    exit_condition: dict[str, Any] = {"description": "x", "next_state": "b", "nxt": 1}
    body: dict[str, Any] = {
        "name": "n",
        "release_version_set": {
            "llm_model_preferences": {"EngageUser": {"llm_name": "x", "param": 1, "params": {"a": 1}}}
        },
        "tags": {"any": "key"},
    }
    reader = bodies.BodyReader(NewService)
    whole: dict[str, Any] = {
        "service_hierarchical_state_machine_id": "0" * 24,
        "agent_id": "0" * 24,
        "description": "d",
        "is_active": True,
        "keyterms": [],
        **body,
    }
    assert problems.unknown_fields(reader.read(whole), whole) == [
        ("release_version_set", "llm_model_preferences", "EngageUser", "param")
    ]
    state: dict[str, Any] = {
        "type": "decision",
        "name": "a",
        "objective": "o",
        "decision_guidelines": [],
        "exit_conditions": [exit_condition],
        "tool_call_specs": [],
        "audio_fillers": [],
        "audio_filler_triggered_after": 1,
        "audio_filler": [],
    }
    names = ("new_user_initial_state", "returning_user_initial_state", "terminal_state")
    lists = ("global_intra_state_navigation_guidelines", "global_action_guidelines", "global_boundary_constraints")
    graph: dict[str, Any] = (
        {"description": "d", "states": [state], "references": {}}
        | dict.fromkeys(names, "a")
        | {name: list[str]() for name in lists}
    )
    assert problems.unknown_fields(bodies.BodyReader(ContextGraph).read(graph), graph) == [
        ("states", 0, "exit_conditions", 0, "nxt"),
        ("states", 0, "audio_filler"),
    ]
