"""Context graphs made by hypothesis, all of which are accepted, and the parts to make one by hand."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from tertulia.engine.graph.context_graph import ContextGraph
from tertulia.engine.graph.rules import problems


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
