"""Context graphs: their form, and a step through them. Pure: values in, values out.

A graph is a set of states. Only action states speak to the user; the others run silently inside a turn until an
action state is reached. A state may lead into another graph (`["reference.state", "jumpback_state"]`): when that
graph arrives at its terminal state, the conversation goes on at the jumpback state of the first, so a position is a
stack of frames.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from tertulia.errors import BrokenGraph
from tertulia.events import VersionInfo
from tertulia.ids import OBJECT_ID_PATTERN
from tertulia.tools.versions import checked_constraint

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


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)


class ExitCondition(_Part):
    description: Text
    next_state: NextState


class ToolCallSpec(_Part):
    tool_id: ObjectId
    version_constraint: Annotated[str, AfterValidator(checked_constraint)]
    additional_instruction: Text
    audio_fillers: Fillers
    audio_filler_triggered_after: FillerDelay
    result_persistence: Literal["ephemeral", "persisted-preferred", "persisted"]
    needs_confirmation: bool = False
    """An extension: the tool is called only after the user has agreed to the very call."""


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


@dataclass(frozen=True, slots=True)
class Frame:
    """A graph's version and a state in it: the current one, or below the top of the stack the one to jump back to."""

    graph: VersionInfo
    state: str


@dataclass(frozen=True, slots=True)
class Position:
    """A conversation's place in its graphs: a stack of frames, the current one last."""

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
    """The position that a step leads to, and the changes of state on the way: the chosen one first."""

    position: Position
    hops: tuple[Hop, ...]


def start(graph: VersionInfo, graphs: Graphs, *, returning: bool) -> Position:
    """Begin a conversation, for a new or a returning user. Returns its first position."""
    root = graphs[graph]
    state = root.returning_user_initial_state if returning else root.new_user_initial_state
    return Position((Frame(graph, state),))


def state_at(position: Position, graphs: Graphs) -> State:
    """Look up a position. Returns its state.

    Raises:
        BrokenGraph: the graphs have no such state.
    """
    top = position.top
    graph = graphs.get(top.graph)
    state = graph.by_name.get(top.state) if graph else None
    if state is None:
        raise BrokenGraph(f"The context graph has no state {top.state}.")
    return state


def step(position: Position, target: str | tuple[str, str], graphs: Graphs) -> Transition:
    """Go to `target`: a state of the current graph, or an external state and the state to jump back to.

    Returns the new position, with the changes of state on the way.

    Raises:
        BrokenGraph: the graphs have no such state.
    """
    moved = _move(position, target, graphs)
    hops = [Hop(position.top, moved.top)]
    while len(moved.frames) > 1 and moved.top.state == graphs[moved.top.graph].terminal_state:
        back = Position(moved.frames[:-1])
        hops.append(Hop(moved.top, back.top, jumpback=True))
        moved = back
    state_at(moved, graphs)
    return Transition(moved, tuple(hops))


def is_over(position: Position, graphs: Graphs) -> bool:
    """Compare a position with the end. Returns true at the terminal state of the conversation's own graph."""
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
