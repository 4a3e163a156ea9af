"""The rules of context graphs: what is refused when a graph is written, and what its author is warned of.

Each check is linear in the size of the graph, and pure. A problem is a place in the body and a text; the places of a
list of problems come in no order that callers may rely on.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from tertulia.engine.graph import silence
from tertulia.engine.graph.context_graph import (
    ActionState,
    ContextGraph,
    DecisionState,
    Graphs,
    NextState,
    RecallState,
    State,
    ToolCallSpec,
)

Location = tuple[str | int, ...]
Problem = tuple[Location, str]

MOST_STATES: Final = 2000
MOST_EXITS: Final = 100
"""Exit conditions of a state; a model is shown all of them."""
MOST_ACTIONS: Final = 100
"""Actions of a state; a model is shown all of them."""
MOST_REFERENCES: Final = 100
MOST_TOOLS: Final = 50
"""Uses of tools in a list of a state; a model is shown all of them."""
LONGEST_NAME: Final = 256
"""Characters of the name of a state or of a reference."""
LONGEST_SILENCE: Final = 100
"""States in a row that a conversation may pass without an action state."""

_MOST_PROBLEMS = 100  # that one answer tells
_MOST_NAMES = 10  # that one text tells


def problems(graph: ContextGraph) -> list[Problem]:
    """Check a graph by itself; references are not followed. Returns its problems, at most a hundred."""
    too_large = list(_size_problems(graph))
    found = too_large or [
        *_name_problems(graph),
        *_named_state_problems(graph),
        *_recall_problems(graph),
        *(found for index, state in enumerate(graph.states) for found in _target_problems(graph, index, state)),
    ]
    return (found or _silence_problems(graph, {}))[:_MOST_PROBLEMS]


def external_problems(graph: ContextGraph, referenced: Graphs) -> list[Problem]:
    """Check a graph that has no problem by itself beside all graphs that it refers to, directly or not.

    Returns its problems, at most a hundred: states that those graphs do not have, and circles that lead through them.
    """
    found: list[Problem] = []
    for index, state in enumerate(graph.states):
        for location, target in targets(state):
            if isinstance(target, str):
                continue
            reference, _, name = target[0].partition(".")
            other = referenced.get(graph.references.get(reference, ("", 0)))
            if other is not None and name not in other.by_name:
                found.append((("states", index, *location), f"The graph {reference} has no state {name}."))
    return (found or _silence_problems(graph, referenced))[:_MOST_PROBLEMS]


def warnings(graph: ContextGraph) -> list[str]:
    """Look for what is allowed but hardly meant in a graph without problems. Returns a sentence for each finding.

    States that other graphs enter by reference count as not reached: a graph does not know who refers to it.
    """
    lost = unreached(graph)
    found: list[str] = []
    if graph.terminal_state in lost:
        lost.remove(graph.terminal_state)
        found.append(f"The terminal state {graph.terminal_state} cannot be reached: no conversation ends by itself.")
    if lost:
        found.append(f"Nothing leads from the initial states to: {_some(lost)}.")
    return found


def unreached(graph: ContextGraph) -> list[str]:
    """Look for states that the initial states do not lead to, in a graph without problems. Returns their names."""
    reached = _reached(graph)
    return [state.name for state in graph.states if state.name not in reached]


def tool_ids(graph: ContextGraph) -> list[tuple[State, str]]:
    """Collect every tool that a graph names. Returns each with the state that names it."""
    found: list[tuple[State, str]] = []
    for state in graph.states:
        for _field, value in state:
            specs = cast("list[Any]", value) if isinstance(value, list) else [value]
            found += [(state, spec.tool_id) for spec in specs if isinstance(spec, ToolCallSpec)]
    return found


def targets(state: State) -> list[tuple[Location, NextState]]:
    """Collect what a state leads to. Returns each target with its place in the state."""
    if isinstance(state, ActionState | DecisionState):
        return [
            (("exit_conditions", n, "next_state"), exit_.next_state) for n, exit_ in enumerate(state.exit_conditions)
        ]
    return [(("next_state",), state.next_state)]


def _size_problems(graph: ContextGraph) -> Iterator[Problem]:
    yield from _too_many(("states",), "A graph", graph.states, MOST_STATES, "states")
    yield from _too_many(("references",), "A graph", graph.references, MOST_REFERENCES, "references")
    for name in graph.references:
        if len(name) > LONGEST_NAME:
            yield ("references",), f"The name of a reference has at most {LONGEST_NAME} characters."
    for index, state in enumerate(graph.states[:MOST_STATES]):
        if len(state.name) > LONGEST_NAME:
            yield ("states", index, "name"), f"The name of a state has at most {LONGEST_NAME} characters."
        for field, value in state:
            specs = cast("list[Any]", value) if field.endswith("tool_call_specs") else []
            yield from _too_many(("states", index, field), "A state", specs, MOST_TOOLS, "uses of tools in a list")
        if isinstance(state, ActionState | DecisionState):
            exits = ("states", index, "exit_conditions")
            yield from _too_many(exits, "A state", state.exit_conditions, MOST_EXITS, "exit conditions")
        if isinstance(state, ActionState):
            yield from _too_many(("states", index, "actions"), "A state", state.actions, MOST_ACTIONS, "actions")


def _too_many(
    place: Location, owner: str, items: Mapping[str, Any] | list[Any], most: int, noun: str
) -> Iterator[Problem]:
    if len(items) > most:
        yield place, f"{owner} has at most {most} {noun}; this one has {len(items)}."


def _name_problems(graph: ContextGraph) -> Iterator[Problem]:
    seen: set[str] = set()
    for index, state in enumerate(graph.states):
        if state.name in seen:
            yield ("states", index, "name"), f"Another state is named {state.name} too."
        seen.add(state.name)


def _named_state_problems(graph: ContextGraph) -> Iterator[Problem]:
    for field in ("new_user_initial_state", "returning_user_initial_state", "terminal_state"):
        name = getattr(graph, field)
        state = graph.by_name.get(name)
        if state is None:
            yield (field,), f"There is no state {_short(name)}."
        elif not isinstance(state, ActionState):
            yield (field,), f"{name} must be an action state."
        elif field == "terminal_state" and state.exit_conditions:
            yield (field,), f"{name} is the terminal state: it cannot have exit conditions."
        elif field == "terminal_state" and len(state.actions) != 1:
            yield (field,), f"{name} is the terminal state: it must have exactly one action."


def _recall_problems(graph: ContextGraph) -> Iterator[Problem]:
    for index, state in enumerate(graph.states):
        if isinstance(state, RecallState) and (state.queries is None) is (state.requested_information is None):
            text = "A recall state has either queries or requested_information, and null for the other."
            yield ("states", index, "requested_information"), text


def _target_problems(graph: ContextGraph, index: int, state: State) -> Iterator[Problem]:
    if isinstance(state, DecisionState) and not state.exit_conditions:
        yield ("states", index, "exit_conditions"), "A decision state needs at least one exit condition."
    for location, target in targets(state):
        place = ("states", index, *location)
        if isinstance(target, str):
            if target not in graph.by_name:
                yield place, f"There is no state {_short(target)}."
            elif target == state.name:
                yield place, f"{target} cannot lead to itself."
            continue
        reference, jumpback = target[0].partition(".")[0], target[1]
        if reference not in graph.references:
            yield place, f"There is no reference {_short(reference)}."
        if jumpback not in graph.by_name:
            yield place, f"There is no state {_short(jumpback)} to jump back to."


def _silence_problems(graph: ContextGraph, referenced: Graphs) -> list[Problem]:
    """Find ways on which no action state speaks: a turn on a circle of them would never end."""
    edges = silence.edges(graph, referenced)
    index = {state.name: number for number, state in enumerate(graph.states)}
    circles = silence.circles(edges)
    if circles:
        return [
            (
                ("states", index[circle[0]], *_way(graph.by_name[circle[0]], circle[1 % len(circle)])),
                f"There is no action state in this circle, so a turn might never end: {_some([*circle, circle[0]])}.",
            )
            for circle in circles
        ]
    return [
        (
            ("states", index[name]),
            f"From {name} on, more than {LONGEST_SILENCE} states can follow each other without an action state.",
        )
        for name in silence.long_ways(edges, LONGEST_SILENCE)
    ]


def _way(state: State, following: str) -> Location:
    """Find the target by which a state leads to the following one. Returns its place in the state."""
    return next(place for place, target in targets(state) if _arrival(target) == following)


def _arrival(target: NextState) -> str:
    """Tell a target's state in the same graph: itself, or the state that is jumped back to. Returns its name."""
    return target if isinstance(target, str) else target[1]


def _reached(graph: ContextGraph) -> set[str]:
    waiting = [graph.new_user_initial_state, graph.returning_user_initial_state]
    reached: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        waiting.extend(_arrival(target) for _, target in targets(graph.by_name[name]))
    return reached


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."
