"""A context graph as a diagram: what there is to draw of it, and as Mermaid (https://mermaid.js.org). Pure."""

import re
from dataclasses import dataclass
from typing import Literal

from tertulia.engine.graph import rules
from tertulia.engine.graph.context_graph import ActionState, ContextGraph, DecisionState, State
from tertulia.engine.graph.sayings import described

Kind = Literal["action", "decision", "recall", "annotation", "reflection", "tool-call", "graph"]

LONGEST_LABEL = 80
"""Characters of a condition that are shown."""

_NEWLINES = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Box:
    """A state, or a state of another graph that this one leads into (`graph`). `note` is all that is known of it."""

    name: str
    kind: Kind
    note: str
    is_first: bool = False
    is_last: bool = False


@dataclass(frozen=True, slots=True)
class Arrow:
    """A way from one box to another, and its condition. `returns`: another graph's end, which leads back."""

    source: str
    target: str
    label: str = ""
    returns: bool = False


@dataclass(frozen=True, slots=True)
class Diagram:
    """The boxes and arrows of a graph, states in the order in which they are written."""

    title: str
    boxes: tuple[Box, ...]
    arrows: tuple[Arrow, ...]


def diagram_of(graph: ContextGraph) -> Diagram:
    """Take from a graph what is drawn. Return it."""
    firsts = {graph.new_user_initial_state, graph.returning_user_initial_state}
    boxes = [
        Box(state.name, state.type, _note(state), state.name in firsts, state.name == graph.terminal_state)
        for state in graph.states
    ]
    arrows: list[Arrow] = []
    entered: dict[str, None] = {}
    for state in graph.states:
        for (_place, target), label in zip(rules.targets(state), _labels(state), strict=True):
            if isinstance(target, str):
                arrows.append(Arrow(state.name, target, _short(label)))
                continue
            external, back = target
            entered[external] = None
            arrows.append(Arrow(state.name, external, _short(label)))
            if (ends := Arrow(external, back, returns=True)) not in arrows:
                arrows.append(ends)
    boxes += [Box(name, "graph", f"In the graph {name.partition('.')[0]}") for name in entered]
    return Diagram(_one_line(graph.description), tuple(boxes), tuple(dict.fromkeys(arrows)))


def mermaid(diagram: Diagram) -> str:
    """Write a diagram as a flowchart of Mermaid. Return its text."""
    ids = {box.name: f"s{number}" for number, box in enumerate(diagram.boxes)}
    lines = ["flowchart TD", f"  %% {diagram.title}"]
    for box in diagram.boxes:
        before, after = _MERMAID_SHAPES[box.kind]
        lines.append(f'  {ids[box.name]}{before}"{_quoted(box.name)}"{after}:::{_class(box.kind)}')
    for arrow in diagram.arrows:
        line = "-.->" if arrow.returns else "-->"
        label = f'|"{_quoted(arrow.label)}"|' if arrow.label else ""
        lines.append(f"  {ids[arrow.source]} {line}{label} {ids[arrow.target]}")
    lines += [f"  classDef {_class(kind)} fill:{fill},stroke:{edge}" for kind, (fill, edge) in COLOURS.items()]
    for names, style in (
        ([box.name for box in diagram.boxes if box.is_first], "stroke-width:3px"),
        ([box.name for box in diagram.boxes if box.is_last], "stroke-width:3px,stroke-dasharray:6 3"),
    ):
        lines += [f"  style {ids[name]} {style}" for name in names]
    return "\n".join(lines) + "\n"


COLOURS: dict[Kind, tuple[str, str]] = {
    "action": ("#e8f1fb", "#2f6db3"),
    "decision": ("#fdf1d8", "#b47a00"),
    "recall": ("#e7f5ea", "#2f8444"),
    "annotation": ("#f4f4f4", "#777777"),
    "reflection": ("#f3e9f8", "#8145a8"),
    "tool-call": ("#fde7e3", "#b54530"),
    "graph": ("#ffffff", "#555555"),
}
"""Fill and stroke by kind."""

_MERMAID_SHAPES: dict[Kind, tuple[str, str]] = {
    "action": ("[", "]"),
    "decision": ("{{", "}}"),
    "recall": ("[(", ")]"),
    "annotation": (">", "]"),
    "reflection": ("([", "])"),
    "tool-call": ("[[", "]]"),
    "graph": ("[/", "/]"),
}


def _class(kind: Kind) -> str:
    """Name a class of Mermaid, whose own words, `graph` among them, are none."""
    return f"{kind.replace('-', '')}State"


def _labels(state: State) -> list[str]:
    """Tell the conditions of the ways that a state leads on. Returns one for each way, empty if it has none."""
    if isinstance(state, ActionState | DecisionState):
        return [described(exit_.description) for exit_ in state.exit_conditions]
    return [""]


def _note(state: State) -> str:
    for field in ("objective", "problem", "inner_thought", "requested_information", "designated_tool_call_objective"):
        if isinstance(text := getattr(state, field, None), str):
            return _one_line(text)
    return ""


def _one_line(text: str) -> str:
    return _NEWLINES.sub(" ", text).strip()


def _short(text: str) -> str:
    line = _one_line(text)
    return line if len(line) <= LONGEST_LABEL else f"{line[: LONGEST_LABEL - 1].rstrip()}…"


def _quoted(text: str) -> str:
    """Escape what Mermaid would read as its own. Return the text for double quotes."""
    return text.replace("&", "&amp;").replace('"', "#quot;").replace("<", "&lt;").replace(">", "&gt;")
