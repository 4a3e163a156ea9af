"""Graphs that are accepted can be walked; graphs that are not say where."""

import time
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from support.random_graphs import OTHER, ROOT, accepted_graphs, accepted_pairs, parsed
from support.samples import action, annotation, decision, tool_spec
from tertulia.engine.graph import context_graph, rules
from tertulia.engine.graph.context_graph import ActionState, ContextGraph, DecisionState, Position
from tertulia.engine.graph.rules import external_problems, problems


@given(accepted_pairs(), st.data())
def test_a_walk_through_an_accepted_graph_never_leaves_it(graphs: context_graph.Graphs, data: st.DataObject) -> None:
    position = context_graph.start(ROOT, graphs, returning=data.draw(st.booleans()))
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
    assume(places)
    index, number = data.draw(st.sampled_from(places))
    body["states"][index]["exit_conditions"][number]["next_state"] = "nowhere"
    found = [location for location, _ in problems(ContextGraph.model_validate(body))]
    assert ("states", index, "exit_conditions", number, "next_state") in found


def _only_problem(made: ContextGraph) -> tuple[tuple[str | int, ...], str]:
    (found,) = problems(made)
    return found


def test_the_terminal_state_has_no_exits() -> None:
    made = parsed(action("start", "end"), action("end", "start"))
    assert _only_problem(made) == (("terminal_state",), "end is the terminal state: it cannot have exit conditions.")


def test_the_terminal_state_has_one_action() -> None:
    made = parsed(action("start", "end"), action("end", actions=2))
    assert _only_problem(made)[0] == ("terminal_state",)


def test_an_initial_state_is_an_action_state() -> None:
    made = parsed(decision("start", "end"), action("end"))
    assert {location for location, _ in problems(made)} == {
        ("new_user_initial_state",),
        ("returning_user_initial_state",),
    }


def test_an_initial_state_exists() -> None:
    made = parsed(action("start", "end"), action("end"), new_user_initial_state="lost")
    assert _only_problem(made) == (("new_user_initial_state",), "There is no state lost.")


def test_a_state_does_not_lead_to_itself() -> None:
    made = parsed(action("start", "start"), action("end"))
    assert _only_problem(made)[0] == ("states", 0, "exit_conditions", 0, "next_state")


def test_two_states_do_not_share_a_name() -> None:
    made = parsed(action("start", "end"), action("end"), action("start"))
    assert (("states", 2, "name"), "Another state is named start too.") in problems(made)


def test_a_reference_and_a_jumpback_state_exist() -> None:
    made = parsed(action("start", ["nowhere.x", "lost"]), action("end"))
    assert [text for _, text in problems(made)] == [
        "There is no reference nowhere.",
        "There is no state lost to jump back to.",
    ]


def test_annotations_do_not_go_in_circles() -> None:
    made = parsed(action("start", "a"), annotation("a", "b"), annotation("b", "a"), action("end"))
    location, text = _only_problem(made)
    assert location == ("states", 1, "next_state")
    assert text.endswith(": a, b, a.")


def test_decisions_do_not_go_in_circles_though_they_have_other_ways_out() -> None:
    made = parsed(
        action("start", "a"),
        decision("a", "end", "b"),
        annotation("b", "c"),
        decision("c", "start", "a"),
        action("end"),
    )
    location, text = _only_problem(made)
    assert location == ("states", 1, "exit_conditions", 1, "next_state")
    assert text.endswith(": a, b, c, a.")


def test_a_circle_that_leads_by_an_action_state_is_none() -> None:
    assert not problems(parsed(action("start", "a"), decision("a", "end", "b"), action("b", "a"), action("end")))


def test_each_of_several_circles_is_a_problem_and_no_more_than_a_hundred_are_told() -> None:
    pairs = [annotation(f"s{n}", f"s{n ^ 1}") for n in range(400)]
    found = problems(parsed(action("start", "end"), *pairs, action("end")))
    assert len(found) == len({location for location, _ in found}) == 100


def test_a_circle_through_another_graph_is_found() -> None:
    through = parsed(action("start", "pass"), decision("pass", "start", "end"), action("end"))
    root = parsed(action("start", "d"), decision("d", "end", ["other.pass", "a"]), annotation("a", "d"), action("end"))
    root = root.model_copy(update={"references": {"other": OTHER}})
    assert not problems(root)
    ((location, text),) = external_problems(root, {OTHER: through})
    assert location == ("states", 1, "exit_conditions", 1, "next_state")
    assert text.endswith(": d, a, d.")


def test_a_way_through_another_graph_by_an_action_is_no_circle() -> None:
    through = parsed(action("start", "pass"), decision("pass", "start"), action("end"))
    root = parsed(action("start", "d"), decision("d", "end", ["other.pass", "a"]), annotation("a", "d"), action("end"))
    root = root.model_copy(update={"references": {"other": OTHER}})
    assert not external_problems(root, {OTHER: through})


def _chain(length: int) -> list[dict[str, Any]]:
    """States that lead from start over so many annotations to the end."""
    names = [*(f"s{n}" for n in range(length)), "end"]
    return [action("start", "s0"), *map(annotation, names, names[1:]), action("end")]


def test_many_states_in_a_row_without_an_action_are_refused_with_the_bound() -> None:
    assert not problems(parsed(*_chain(rules.LONGEST_SILENCE)))
    location, text = _only_problem(parsed(*_chain(rules.LONGEST_SILENCE + 1)))
    assert location == ("states", 1)
    assert str(rules.LONGEST_SILENCE) in text


def test_a_graph_of_too_many_states_is_refused_with_the_bound() -> None:
    location, text = _only_problem(parsed(*_chain(8000)))
    assert location == ("states",)
    assert str(rules.MOST_STATES) in text


@pytest.mark.parametrize(
    ("state", "field", "bound"),
    [
        (action("a" * 257, "end"), "name", rules.LONGEST_NAME),
        (action("a", *["end"] * 101), "exit_conditions", rules.MOST_EXITS),
        (decision("a", *["end"] * 101), "exit_conditions", rules.MOST_EXITS),
        (action("a", "end", actions=101), "actions", rules.MOST_ACTIONS),
        (
            action("a", "end", action_tool_call_specs=[tool_spec("f" * 24)] * 51),
            "action_tool_call_specs",
            rules.MOST_TOOLS,
        ),
    ],
)
def test_what_is_too_large_in_a_state_is_refused_with_the_bound(state: Any, field: str, bound: int) -> None:
    location, text = _only_problem(parsed(action("start", "end"), state, action("end")))
    assert location == ("states", 1, field)
    assert str(bound) in text


def test_the_references_of_a_graph_are_bounded() -> None:
    many = {f"r{n}": OTHER for n in range(rules.MOST_REFERENCES + 1)}
    assert _only_problem(parsed(action("start", "end"), action("end"), references=many))[0] == ("references",)


def test_the_check_of_a_graph_takes_four_times_as_long_when_it_is_four_times_as_large(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rules, "MOST_STATES", 100_000)

    def took(states: list[dict[str, Any]]) -> float:
        made = parsed(*states)
        times: list[float] = []
        for _ in range(3):
            began = time.thread_time()
            problems(made)
            rules.warnings(made)
            times.append(time.thread_time() - began)
        return min(times)

    assert took(_chain(12_000)) < 10 * took(_chain(3000))  # a quadratic check: 16


def test_states_that_nothing_leads_to_are_a_warning() -> None:
    made = parsed(action("start", "end"), action("lost", "lonely"), action("lonely", "end"), action("end"))
    assert rules.warnings(made) == ["Nothing leads from the initial states to: lost, lonely."]


def test_a_terminal_state_that_cannot_be_reached_is_a_warning() -> None:
    made = parsed(action("start", "on"), action("on", "start"), action("end"))
    assert rules.warnings(made) == ["The terminal state end cannot be reached: no conversation ends by itself."]


def test_a_graph_all_of_whose_states_are_reached_has_no_warnings() -> None:
    reached = parsed(
        action("start", ["other.x", "back"]), action("back", "end"), action("end"), references={"other": OTHER}
    )
    assert rules.warnings(reached) == []


def test_a_decision_has_a_way_out() -> None:
    made = parsed(action("start", "d"), decision("d"), action("end"))
    assert _only_problem(made)[0] == ("states", 1, "exit_conditions")


def test_a_state_of_a_referenced_graph_exists() -> None:
    root = parsed(action("start", ["other.lost", "end"]), action("end"), references={"other": list(OTHER)})
    other = parsed(action("start", "end"), action("end"))
    assert external_problems(root, {OTHER: other}) == [
        (("states", 0, "exit_conditions", 0, "next_state"), "The graph other has no state lost.")
    ]


@pytest.mark.parametrize("name", ["with space", "", "dotted.name", "ünder"])
def test_a_state_name_is_of_ascii_letters_digits_and_underscores(name: str) -> None:
    with pytest.raises(ValidationError):
        parsed(action("start", "end"), action("end"), action(name))


def test_an_action_state_without_actions_is_refused() -> None:
    with pytest.raises(ValidationError):
        parsed(action("start", "end", actions=0), action("end"))


def test_the_end_of_a_referenced_graph_leads_to_the_jumpback_state() -> None:
    root = parsed(
        action("start", ["other.start", "after"]), action("after", "end"), action("end"), references={"other": OTHER}
    )
    graphs = {ROOT: root, OTHER: parsed(action("start", "end"), action("end"))}
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
    graphs = {ROOT: parsed(action("start", "end"), action("end"))}
    over = context_graph.step(context_graph.start(ROOT, graphs, returning=False), "end", graphs)
    assert context_graph.is_over(over.position, graphs)
