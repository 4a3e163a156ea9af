"""Graphs that are accepted can be walked; graphs that are not say where."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tertulia.engine.graph import context_graph
from tertulia.engine.graph.context_graph import ActionState, ContextGraph, DecisionState, Position, problems

ROOT = ("a" * 24, 1)
OTHER = ("b" * 24, 3)


def action(name: str, *exits: Any, actions: int = 1) -> dict[str, Any]:
    return {
        "type": "action",
        "name": name,
        "objective": f"Objective of {name}",
        "actions": [f"Action {n} of {name}" for n in range(actions)],
        "intra_state_navigation_guidelines": [],
        "action_guidelines": [],
        "boundary_constraints": [],
        "exit_conditions": [{"description": f"To {target}", "next_state": target} for target in exits],
        "action_tool_call_specs": [],
        "exit_condition_tool_call_specs": [],
        "skip_active_memory_retrieval": False,
    }


def decision(name: str, *exits: Any) -> dict[str, Any]:
    return {
        "type": "decision",
        "name": name,
        "objective": f"Objective of {name}",
        "exit_conditions": [{"description": f"To {target}", "next_state": target} for target in exits],
        "decision_guidelines": [],
        "tool_call_specs": [],
        "audio_fillers": [],
        "audio_filler_triggered_after": 1,
    }


def annotation(name: str, next_state: Any) -> dict[str, Any]:
    return {"type": "annotation", "name": name, "inner_thought": f"Thought of {name}", "next_state": next_state}


def graph(*states: dict[str, Any], start: str = "start", end: str = "end", **fields: Any) -> ContextGraph:
    return ContextGraph.model_validate(
        {
            "description": "A graph",
            "states": list(states),
            "new_user_initial_state": start,
            "returning_user_initial_state": start,
            "terminal_state": end,
            "references": {},
            "global_intra_state_navigation_guidelines": [],
            "global_action_guidelines": [],
            "global_boundary_constraints": [],
            **fields,
        }
    )


NAMES = [f"s{n}" for n in range(6)]


@st.composite
def accepted_graphs(draw: st.DrawFn, references: Mapping[str, tuple[str, int]] | None = None) -> ContextGraph:
    """Graphs of up to eight states that keep every rule, with ways into the graphs that `references` names."""
    names = ["start", *draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=6)), "end"]
    external = [f"{reference}.{state}" for reference in references or {} for state in ("start", "s0", "end")]

    def target(of: str) -> Any:
        inner = st.sampled_from([name for name in names if name != of])
        outer = st.tuples(st.sampled_from(external), st.sampled_from(names)).map(list) if external else inner
        return draw(st.one_of(inner, outer))

    states = [action("end"), action("start", *(target("start") for _ in range(draw(st.integers(0, 3)))))]
    for name in names[1:-1]:
        kind = draw(st.sampled_from(["action", "decision", "annotation"]))
        exits = [target(name) for _ in range(draw(st.integers(1, 3)))]
        match kind:
            case "action":
                states.append(action(name, *exits, actions=draw(st.integers(1, 3))))
            case "decision":
                states.append(decision(name, *exits))
            case _:
                states.append(annotation(name, exits[0]))
    made = graph(*states, references=dict(references or {}))
    return made if not problems(made) else graph(action("start", "end"), action("end"))


@given(st.data())
def test_a_walk_through_an_accepted_graph_never_leaves_it(data: st.DataObject) -> None:
    other = data.draw(accepted_graphs())
    graphs = {ROOT: data.draw(accepted_graphs({"other": OTHER})), OTHER: other}
    position = context_graph.start(ROOT, graphs, returning=data.draw(st.booleans()))
    if context_graph.external_problems(graphs[ROOT], graphs):
        return
    for _ in range(20):
        state = context_graph.state_at(position, graphs)
        match state:
            case ActionState() | DecisionState():
                targets = [exit_.next_state for exit_ in state.exit_conditions]
            case _:
                targets = [state.next_state]
        if not targets:
            break
        transition = context_graph.step(position, data.draw(st.sampled_from(targets)), graphs)
        assert transition.hops[0].before == position.top
        assert transition.hops[-1].after == transition.position.top
        assert all(hop.jumpback for hop in transition.hops[1:])
        assert len(transition.position.frames) == 1 or not _at_end(transition.position, graphs)
        position = transition.position
        assert Position.from_json(position.to_json()) == position


def _at_end(position: Position, graphs: context_graph.Graphs) -> bool:
    return position.top.state == graphs[position.top.graph].terminal_state


@given(accepted_graphs(), st.data())
def test_a_target_that_is_taken_away_is_a_problem_at_its_place(made: ContextGraph, data: st.DataObject) -> None:
    body = made.model_dump(mode="json")
    places = [
        (index, number)
        for index, state in enumerate(body["states"])
        for number, _ in enumerate(state.get("exit_conditions", []))
    ]
    if not places:
        return
    index, number = data.draw(st.sampled_from(places))
    body["states"][index]["exit_conditions"][number]["next_state"] = "nowhere"
    found = [location for location, _ in problems(ContextGraph.model_validate(body))]
    assert ("states", index, "exit_conditions", number, "next_state") in found


def _only_problem(made: ContextGraph) -> tuple[tuple[str | int, ...], str]:
    (found,) = problems(made)
    return found


def test_the_terminal_state_has_no_exits() -> None:
    made = graph(action("start", "end"), action("end", "start"))
    assert _only_problem(made) == (("terminal_state",), "end is the terminal state: it cannot have exit conditions.")


def test_the_terminal_state_has_one_action() -> None:
    made = graph(action("start", "end"), action("end", actions=2))
    assert _only_problem(made)[0] == ("terminal_state",)


def test_an_initial_state_is_an_action_state() -> None:
    made = graph(decision("start", "end"), action("end"))
    assert {location for location, _ in problems(made)} == {
        ("new_user_initial_state",),
        ("returning_user_initial_state",),
    }


def test_an_initial_state_exists() -> None:
    made = graph(action("start", "end"), action("end"), new_user_initial_state="lost")
    assert _only_problem(made) == (("new_user_initial_state",), "There is no state lost.")


def test_a_state_does_not_lead_to_itself() -> None:
    made = graph(action("start", "start"), action("end"))
    assert _only_problem(made)[0] == ("states", 0, "exit_conditions", 0, "next_state")


def test_two_states_do_not_share_a_name() -> None:
    made = graph(action("start", "end"), action("end"), action("start"))
    assert (("states", 2, "name"), "Another state is named start too.") in problems(made)


def test_a_reference_and_a_jumpback_state_exist() -> None:
    made = graph(action("start", ["nowhere.x", "lost"]), action("end"))
    assert [text for _, text in problems(made)] == [
        "There is no reference nowhere.",
        "There is no state lost to jump back to.",
    ]


def test_annotations_do_not_go_in_circles() -> None:
    made = graph(action("start", "a"), annotation("a", "b"), annotation("b", "a"), action("end"))
    assert {location for location, _ in problems(made)} == {("states", 1, "next_state"), ("states", 2, "next_state")}


def test_a_decision_has_a_way_out() -> None:
    made = graph(action("start", "d"), decision("d"), action("end"))
    assert _only_problem(made)[0] == ("states", 1, "exit_conditions")


def test_a_state_of_a_referenced_graph_exists() -> None:
    root = graph(action("start", ["other.lost", "end"]), action("end"), references={"other": list(OTHER)})
    other = graph(action("start", "end"), action("end"))
    assert context_graph.external_problems(root, {OTHER: other}) == [
        (("states", 0, "exit_conditions", 0, "next_state"), "The graph other has no state lost.")
    ]


@pytest.mark.parametrize("name", ["with space", "", "dotted.name", "ünder"])
def test_a_state_name_is_of_ascii_letters_digits_and_underscores(name: str) -> None:
    with pytest.raises(ValidationError):
        graph(action("start", "end"), action("end"), action(name))


def test_an_action_state_without_actions_is_refused() -> None:
    with pytest.raises(ValidationError):
        graph(action("start", "end", actions=0), action("end"))


def test_the_end_of_a_referenced_graph_leads_to_the_jumpback_state() -> None:
    root = graph(
        action("start", ["other.start", "after"]), action("after", "end"), action("end"), references={"other": OTHER}
    )
    graphs = {ROOT: root, OTHER: graph(action("start", "end"), action("end"))}
    inside = context_graph.step(context_graph.start(ROOT, graphs, returning=False), ("other.start", "after"), graphs)
    assert [frame.state for frame in inside.position.frames] == ["after", "start"]
    back = context_graph.step(inside.position, "end", graphs)
    assert [frame.state for frame in back.position.frames] == ["after"]
    assert [(hop.before.state, hop.after.state, hop.jumpback) for hop in back.hops] == [
        ("start", "end", False),
        ("end", "after", True),
    ]
    assert not context_graph.is_over(back.position, graphs)


def test_only_the_terminal_state_of_the_first_graph_ends_the_conversation() -> None:
    graphs = {ROOT: graph(action("start", "end"), action("end"))}
    over = context_graph.step(context_graph.start(ROOT, graphs, returning=False), "end", graphs)
    assert context_graph.is_over(over.position, graphs)
