"""Context graphs made by hypothesis: such as are accepted, and such as may have been before there were rules."""

from typing import Any

from hypothesis import strategies as st

from support import samples
from support.samples import action, annotation, decision, recall, reflection, tool_call, tool_spec
from support.toolbox import BROKEN, WEATHER
from tertulia.engine.graph.context_graph import ContextGraph, Graphs
from tertulia.engine.graph.rules import external_problems, problems

QUERIES = ["What do they like?", "Where do they live?"]
NAMES = [f"s{n}" for n in range(6)]


def parsed(*states: samples.Json, **fields: Any) -> ContextGraph:
    """Parse a context graph of these states. Return it; no rule has been asked."""
    return ContextGraph.model_validate(samples.graph(*states, **fields))


Version = tuple[str, int]
ROOT: Version = ("a" * 24, 1)
OTHER: Version = ("b" * 24, 3)


_SPECS = st.sampled_from([[], [tool_spec(WEATHER)], [tool_spec(WEATHER), tool_spec(BROKEN)]])


@st.composite
def old_graphs(draw: st.DrawFn, other: ContextGraph | None = None) -> ContextGraph:
    """Draw a graph of up to eight states that may lead in circles, with ways into the other one, `OTHER`."""
    names = ["start", *NAMES[: draw(st.integers(0, len(NAMES)))], "end"]
    external = [f"other.{name}" for name in other.by_name] if other else []

    def target(of: str) -> Any:
        inner = st.sampled_from([name for name in names if name != of])
        outer = st.tuples(st.sampled_from(external), st.sampled_from(names)).map(list) if external else inner
        return draw(st.one_of(inner, outer))

    states = [action("end"), action("start", *(target("start") for _ in range(draw(st.integers(0, 3)))))]
    for name in names[1:-1]:
        kind = draw(st.sampled_from(["action", "decision", "annotation", "recall", "reflection", "tool"]))
        exits = [target(name) for _ in range(draw(st.integers(1, 3)))]
        match kind:
            case "action":
                own = {"exit_condition_tool_call_specs": draw(_SPECS), "action_tool_call_specs": draw(_SPECS)}
                states.append(action(name, *exits, actions=draw(st.integers(1, 3)), **own))
            case "decision":
                states.append({**decision(name, *exits), "tool_call_specs": draw(_SPECS)})
            case "tool":
                made = tool_call(name, exits[0], draw(st.sampled_from([WEATHER, BROKEN])))
                states.append({**made, "tool_call_specs": draw(_SPECS)})
            case "annotation":
                states.append(annotation(name, exits[0]))
            case "recall":
                queries = draw(st.lists(st.sampled_from(QUERIES), max_size=2))
                states.append(recall(name, exits[0], *queries, wants=None if queries else f"Wish of {name}"))
            case _:
                states.append({**reflection(name, exits[0]), "tool_call_specs": draw(_SPECS)})
    return parsed(*states, references={"other": OTHER} if other else {})


@st.composite
def accepted_graphs(draw: st.DrawFn, other: ContextGraph | None = None) -> ContextGraph:
    """Draw a graph of up to eight states that keeps every rule by itself, with ways into the other one, `OTHER`."""
    made = draw(old_graphs(other))
    return made if not problems(made) else parsed(action("start", "end"), action("end"))


@st.composite
def old_pairs(draw: st.DrawFn) -> Graphs:
    """Draw a graph and another one that it leads into. Return both; each may lead in circles."""
    other = draw(old_graphs())
    return {ROOT: draw(old_graphs(other)), OTHER: other}


@st.composite
def accepted_pairs(draw: st.DrawFn) -> Graphs:
    """Draw a graph and, more often than not, another one that it leads into. Return both; they can be walked."""
    other = draw(accepted_graphs())
    graphs: Graphs = {ROOT: draw(accepted_graphs(other)), OTHER: other}
    return graphs if not external_problems(graphs[ROOT], graphs) else {ROOT: other, OTHER: other}
