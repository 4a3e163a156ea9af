"""Graphs that mean harm: they are refused when they are written, or a turn through them ends."""

import json
from typing import Any

import pytest

from support.hostile import Mover, put_version, refused
from support.puppet import Puppet
from support.samples import (
    GRAPHS,
    action,
    annotation,
    decision,
    graph,
    make_graph,
    recall,
    reflection,
    short_graph,
    tool_call,
)
from support.stage import Stage
from support.talk import begin, go_on, id_of, messages

Json = dict[str, Any]
NOBODY = "f" * 24


def quiet() -> Json:
    """A graph through which one can pass in silence."""
    return graph(action("start", "end"), annotation("pass", "end"), action("end"))


CIRCLES: dict[str, list[Json]] = {
    "recall": [recall("a", "b", "What?"), recall("b", "a", wants="Why?")],
    "reflection": [reflection("a", "b"), reflection("b", "a")],
    "tool call": [tool_call("a", "b", NOBODY), tool_call("b", "a", NOBODY)],
    "every kind": [
        recall("a", "b", "What?"), annotation("b", "c"), reflection("c", "d"), decision("d", "a", "end"),
    ],
    "a jumpback": [annotation("a", ["inner.pass", "b"]), annotation("b", ["inner.pass", "a"])],
    "a jumpback to the state before": [annotation("a", ["inner.pass", "b"]), annotation("b", "a")],
}  # fmt: skip


@pytest.mark.parametrize("states", CIRCLES.values(), ids=CIRCLES.keys())
def test_circles_of_every_kind_are_refused_and_those_of_earlier_days_end(stage: Stage, states: list[Json]) -> None:
    inner_id = make_graph(stage.admin, quiet())
    body = graph(action("start", "a"), *states, action("end"), references={"inner": [inner_id, 1]})
    graph_id = make_graph(stage.admin, short_graph())
    answer = stage.admin.post(f"{GRAPHS}/{graph_id}/", json=body)
    if "tool" not in states[0]["type"]:
        assert answer.status_code == 422, answer.text
        assert "There is no action state in this circle" in answer.text
    service_id = stage.service(graph_id=graph_id)
    put_version(stage, graph_id, body)
    user = stage.user("DefaultAdministratorRole")
    conversation_id = id_of(begin(user, service_id))
    stage.play(Mover("Hm."))

    told = refused(user, conversation_id)["error_description"]

    assert told in ("The context graph leads in a circle without an action.", f"There is no tool {NOBODY}.")


def test_a_graph_that_refers_to_itself_is_refused_and_one_of_earlier_days_ends(stage: Stage) -> None:
    graph_id = make_graph(stage.admin, short_graph())
    body = graph(
        action("start", "a"), annotation("a", ["self.a", "end"]), action("end"), references={"self": [graph_id, 2]}
    )
    answer = stage.admin.post(f"{GRAPHS}/{graph_id}/", json=body)
    assert answer.status_code == 400
    service_id = stage.service(graph_id=graph_id)
    put_version(stage, graph_id, {**body, "references": {"self": [graph_id, 1]}})
    user = stage.user("DefaultAdministratorRole")
    conversation_id = id_of(begin(user, service_id))
    stage.play(Mover("Hm."))

    told = refused(user, conversation_id)["error_description"]

    assert told == "The context graph leads through more than 1000 states without an action."


LONG = "All work and no play makes a dull conversation. " * 2100


def test_guidelines_of_a_hundred_thousand_characters_are_no_trouble(stage: Stage) -> None:
    long = {"intra_state_navigation_guidelines": [LONG], "action_guidelines": [LONG], "boundary_constraints": [LONG]}
    of_all = {f"global_{name}": [LONG] for name in long}
    body = graph(action("start", "end", objective=LONG, actions=2, **long), action("end"), **of_all)
    user = stage.user("DefaultAdministratorRole")
    puppet = stage.play(Puppet())

    conversation_id = id_of(begin(user, stage.service(body)))
    last = go_on(user, conversation_id)[-1]

    assert last["type"] == "interaction-complete"
    assert all(LONG.strip() in prompt.system + prompt.question for prompt in puppet.prompts)
    assert len(messages(user, conversation_id)) == 3
    path = f"/conversation/{conversation_id}/interaction/{last['interaction_id']}"
    assert len(user.get(f"{path}/trace").content) < 1_000_000


NAMES = {
    "nothing": "",
    "a space": " ",
    "no width": "\u200b",
    "Cyrillic letters": "st\u0430rt",
    "wide letters": "\uff53tart",
    "a ligature": "\ufb01nish",
    "a combining mark": "start\u0301",
    "digits of Arabic": "step\u0661",
    "a line": "start\nend",
    "a dot": "inner.start",
    "NUL": "start\0",
    "half a pair": "start\ud800",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_a_name_that_looks_like_another_is_refused_wherever_it_stands(stage: Stage, name: str) -> None:
    graph_id = make_graph(stage.admin, short_graph())
    for body in (
        short_graph({**annotation("x", "end"), "name": name}),
        short_graph(annotation("x", name)),
        short_graph(new_user_initial_state=name),
        short_graph(references={name: [graph_id, 1]}),
    ):
        sent = json.dumps(body)  # httpx2 would refuse half a pair
        answer = stage.admin.post(f"{GRAPHS}/{graph_id}/", content=sent, headers={"content-type": "application/json"})
        assert answer.status_code == 422, answer.text


def test_texts_of_a_graph_that_are_blank_are_refused(stage: Stage) -> None:
    graph_id = make_graph(stage.admin, short_graph())
    for field, value in [("objective", " "), ("actions", [" "]), ("actions", []), ("action_guidelines", ["\n"])]:
        body = graph({**action("start", "end"), field: value}, action("end"))
        assert stage.admin.post(f"{GRAPHS}/{graph_id}/", json=body).status_code == 422, field


def test_two_names_that_differ_in_spaces_alone_are_one(stage: Stage) -> None:
    body = short_graph({**annotation("x", "end"), "name": " start "})
    graph_id = make_graph(stage.admin, short_graph())
    answer = stage.admin.post(f"{GRAPHS}/{graph_id}/", json=body)
    assert answer.status_code == 422
    assert "Another state is named start too." in answer.text
