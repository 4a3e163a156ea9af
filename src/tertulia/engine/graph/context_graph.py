"""Context graphs: their form, their rules, and a step through them. Pure: values in, values out.

A graph is a set of states. Only action states speak to the user; the others run silently inside a turn until an
action state is reached. A state may lead into another graph (`["reference.state", "jumpback_state"]`): when that
graph arrives at its terminal state, the conversation goes on at the jumpback state of the first, so a position is a
stack of frames.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from tertulia.errors import TertuliaError
from tertulia.events import VersionInfo
from tertulia.ids import OBJECT_ID_PATTERN

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
StateName = Annotated[str, StringConstraints(strip_whitespace=True, pattern="^[A-Za-z0-9_]+$")]
ExternalStateName = Annotated[str, StringConstraints(strip_whitespace=True, pattern=r"^[A-Za-z0-9_]+\.[A-Za-z0-9_]+$")]
ObjectId = Annotated[str, StringConstraints(pattern=OBJECT_ID_PATTERN)]
NextState = StateName | tuple[ExternalStateName, StateName]
Fillers = Annotated[list[Text], Field(max_length=5)]
FillerDelay = Annotated[float, Field(gt=0, le=10)]
"""Seconds before a filler is played."""

MAX_INTEGER = 2**31 - 1
"""The largest number of a version that a database can look for."""

Location = tuple[str | int, ...]

RUNNABLE = frozenset({"action", "decision", "annotation"})
"""The kinds of state that the engine runs."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


class ExitCondition(_Part):
    description: Text
    next_state: NextState


class ToolCallSpec(_Part):
    tool_id: ObjectId
    version_constraint: str
    additional_instruction: Text
    audio_fillers: Fillers
    audio_filler_triggered_after: FillerDelay
    result_persistence: Literal["ephemeral", "persisted-preferred", "persisted"]


class ActionState(_Part):
    type: Literal["action"]
    name: StateName
    objective: Text
    actions: Annotated[list[Text], Field(min_length=1)]
    intra_state_navigation_guidelines: list[Text]
    action_guidelines: list[Text]
    boundary_constraints: list[Text]
    exit_conditions: list[ExitCondition]
    action_tool_call_specs: list[ToolCallSpec]
    exit_condition_tool_call_specs: list[ToolCallSpec]
    skip_active_memory_retrieval: bool


class DecisionState(_Part):
    type: Literal["decision"]
    name: StateName
    exit_conditions: list[ExitCondition]
    decision_guidelines: list[Text]
    objective: Text
    tool_call_specs: list[ToolCallSpec]
    audio_fillers: Fillers
    audio_filler_triggered_after: FillerDelay


class RecallState(_Part):
    type: Literal["recall"]
    name: StateName
    queries: Annotated[list[str], Field(min_length=1)] | None = None  # the official client leaves out what is null
    requested_information: Text | None = None
    next_state: NextState


class AnnotationState(_Part):
    type: Literal["annotation"]
    name: StateName
    inner_thought: Text
    next_state: NextState


class ReflectionState(_Part):
    type: Literal["reflection"]
    name: StateName
    problem: Text
    word_limit: Annotated[int, Field(gt=0)]
    next_state: NextState
    tool_call_specs: list[ToolCallSpec]
    audio_fillers: Fillers
    audio_filler_triggered_after: FillerDelay


class ToolCallState(_Part):
    type: Literal["tool-call"]
    name: StateName
    next_state: NextState
    designated_tool: ToolCallSpec
    designated_tool_call_params_generation_audio_fillers: Fillers
    designated_tool_call_params_generation_audio_filler_triggered_after: FillerDelay
    designated_tool_call_objective: Text
    designated_tool_call_context: Text
    designated_tool_call_guidances: list[Text]
    designated_tool_call_validations: list[Text]
    tool_call_specs: list[ToolCallSpec]


State = Annotated[
    ActionState | DecisionState | RecallState | AnnotationState | ReflectionState | ToolCallState,
    Field(discriminator="type"),
]


class ContextGraph(_Part):
    """A version of a context graph, as it is sent, stored and run."""

    description: Text
    states: list[State]
    new_user_initial_state: StateName
    returning_user_initial_state: StateName
    terminal_state: StateName
    references: dict[StateName, tuple[ObjectId, Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]]]
    global_intra_state_navigation_guidelines: list[Text]
    global_action_guidelines: list[Text]
    global_boundary_constraints: list[Text]

    @cached_property
    def by_name(self) -> dict[str, State]:
        return {state.name: state for state in self.states}


Graphs = Mapping[VersionInfo, ContextGraph]
"""A graph's version and all those that it refers to, directly or not."""


# --- Rules ---------------------------------------------------------------------------------------------------------


def problems(graph: ContextGraph) -> list[tuple[Location, str]]:
    """What is wrong with a graph in itself: the place in the body and a text for each. References are not followed."""
    return [
        *_name_problems(graph),
        *_named_state_problems(graph),
        *(found for index, state in enumerate(graph.states) for found in _target_problems(graph, index, state)),
        *_circle_problems(graph),
    ]


def external_problems(graph: ContextGraph, referenced: Graphs) -> list[tuple[Location, str]]:
    """States of other graphs that a graph leads to but which those do not have."""
    found: list[tuple[Location, str]] = []
    for index, state in enumerate(graph.states):
        for location, target in _targets(state):
            if isinstance(target, str):
                continue
            reference, _, name = target[0].partition(".")
            other = referenced.get(graph.references.get(reference, ("", 0)))
            if other is not None and name not in other.by_name:
                found.append((("states", index, *location), f"The graph {reference} has no state {name}."))
    return found


def unsupported(graph: ContextGraph) -> list[str]:
    """Names of the states that the engine cannot run: of a kind that it does not know, or with tools."""
    return [state.name for state in graph.states if state.type not in RUNNABLE or _uses_tools(state)]


def _uses_tools(state: State) -> bool:
    if isinstance(state, ActionState):
        return bool(state.action_tool_call_specs or state.exit_condition_tool_call_specs)
    return isinstance(state, DecisionState) and bool(state.tool_call_specs)


def tool_ids(graph: ContextGraph) -> list[tuple[Location, str]]:
    """Every tool that a graph names, with its place in the body."""
    found: list[tuple[Location, str]] = []
    for index, state in enumerate(graph.states):
        for field, value in state:
            specs = cast("list[Any]", value) if isinstance(value, list) else [value]
            found += [(("states", index, field), spec.tool_id) for spec in specs if isinstance(spec, ToolCallSpec)]
    return found


def _name_problems(graph: ContextGraph) -> Iterator[tuple[Location, str]]:
    seen: set[str] = set()
    for index, state in enumerate(graph.states):
        if state.name in seen:
            yield ("states", index, "name"), f"Another state is named {state.name} too."
        seen.add(state.name)


def _named_state_problems(graph: ContextGraph) -> Iterator[tuple[Location, str]]:
    for field in ("new_user_initial_state", "returning_user_initial_state", "terminal_state"):
        name = getattr(graph, field)
        state = graph.by_name.get(name)
        if state is None:
            yield (field,), f"There is no state {name}."
        elif not isinstance(state, ActionState):
            yield (field,), f"{name} must be an action state."
        elif field == "terminal_state" and state.exit_conditions:
            yield (field,), f"{name} is the terminal state: it cannot have exit conditions."
        elif field == "terminal_state" and len(state.actions) != 1:
            yield (field,), f"{name} is the terminal state: it must have exactly one action."


def _targets(state: State) -> list[tuple[Location, str | tuple[str, str]]]:
    if isinstance(state, ActionState | DecisionState):
        return [
            (("exit_conditions", n, "next_state"), exit_.next_state) for n, exit_ in enumerate(state.exit_conditions)
        ]
    return [(("next_state",), state.next_state)]


def _target_problems(graph: ContextGraph, index: int, state: State) -> Iterator[tuple[Location, str]]:
    if isinstance(state, DecisionState) and not state.exit_conditions:
        yield ("states", index, "exit_conditions"), "A decision state needs at least one exit condition."
    for location, target in _targets(state):
        place = ("states", index, *location)
        if isinstance(target, str):
            if target not in graph.by_name:
                yield place, f"There is no state {target}."
            elif target == state.name:
                yield place, f"{target} cannot lead to itself."
            continue
        reference, jumpback = target[0].partition(".")[0], target[1]
        if reference not in graph.references:
            yield place, f"There is no reference {reference}."
        if jumpback not in graph.by_name:
            yield place, f"There is no state {jumpback} to jump back to."


def _circle_problems(graph: ContextGraph) -> Iterator[tuple[Location, str]]:
    """A circle of silent states with one way out each would never reach the user."""
    for index, state in enumerate(graph.states):
        seen: set[str] = set()
        name: object = state.name
        while isinstance(name, str) and name not in seen:
            seen.add(name)
            current = graph.by_name.get(name)
            if current is None or isinstance(current, ActionState | DecisionState):
                break
            name = current.next_state
        else:
            if name == state.name:
                yield ("states", index, "next_state"), f"From {state.name} no action state can be reached."


# --- Steps ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Frame:
    """A graph's version and a state in it: the current one, or below the top of the stack the one to jump back to."""

    graph: VersionInfo
    state: str


@dataclass(frozen=True, slots=True)
class Position:
    """Where a conversation stands: a stack of frames, the current one last."""

    frames: tuple[Frame, ...]

    @property
    def top(self) -> Frame:
        return self.frames[-1]

    def to_json(self) -> list[list[Any]]:
        return [[frame.graph[0], frame.graph[1], frame.state] for frame in self.frames]

    @classmethod
    def from_json(cls, value: list[list[Any]]) -> "Position":
        return cls(tuple(Frame((graph_id, version), state) for graph_id, version, state in value))


@dataclass(frozen=True, slots=True)
class Hop:
    """One change of state; `jumpback` when a graph came to its end and its caller goes on."""

    before: Frame
    after: Frame
    jumpback: bool = False


@dataclass(frozen=True, slots=True)
class Transition:
    """Where a step leads, and the changes of state on the way: the chosen one first."""

    position: Position
    hops: tuple[Hop, ...]


class BrokenGraph(TertuliaError):
    """A graph leads to a place that is not there, although it was accepted."""


def start(graph: VersionInfo, graphs: Graphs, *, returning: bool) -> Position:
    """Where a new conversation begins, for a new or a returning user."""
    root = graphs[graph]
    state = root.returning_user_initial_state if returning else root.new_user_initial_state
    return Position((Frame(graph, state),))


def state_at(position: Position, graphs: Graphs) -> State:
    """The state at a position.

    Raises:
        BrokenGraph: there is none.
    """
    top = position.top
    graph = graphs.get(top.graph)
    state = graph.by_name.get(top.state) if graph else None
    if state is None:
        raise BrokenGraph(f"The context graph has no state {top.state}.")
    return state


def step(position: Position, target: str | tuple[str, str], graphs: Graphs) -> Transition:
    """Go to `target`, a state of the current graph or a pair of an external state and where to jump back to."""
    moved = _move(position, target, graphs)
    hops = [Hop(position.top, moved.top)]
    while len(moved.frames) > 1 and moved.top.state == graphs[moved.top.graph].terminal_state:
        back = Position(moved.frames[:-1])
        hops.append(Hop(moved.top, back.top, jumpback=True))
        moved = back
    state_at(moved, graphs)
    return Transition(moved, tuple(hops))


def is_over(position: Position, graphs: Graphs) -> bool:
    """Whether the conversation stands at its terminal state."""
    top = position.top
    return len(position.frames) == 1 and top.state == graphs[top.graph].terminal_state


def _move(position: Position, target: str | tuple[str, str], graphs: Graphs) -> Position:
    *below, top = position.frames
    if isinstance(target, str):
        return Position((*below, replace(top, state=target)))
    external, jumpback = target
    reference, _, name = external.partition(".")
    graph = graphs[top.graph].references.get(reference)
    if graph is None or graph not in graphs:
        raise BrokenGraph(f"The context graph has no reference {reference}.")
    return Position((*below, replace(top, state=jumpback), Frame(graph, name)))
