"""From where the conversation stands to the action that the agent will take: the silent part of a turn.

Action states ask the model for an action or for an exit condition that is met; decision states ask it for an exit;
annotation states add a thought; tool-call states call a tool. The walk ends at the first action that is chosen.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Literal

from msgspec import structs

from tertulia import events
from tertulia.engine.agent import prompt
from tertulia.engine.agent.choosing import choose
from tertulia.engine.agent.instructions import for_navigation, offered
from tertulia.engine.agent.memory import recall_state
from tertulia.engine.agent.models import Models
from tertulia.engine.agent.options import Offer, actions_and_exits_of, actions_of, exits_of
from tertulia.engine.agent.reflection import reflect
from tertulia.engine.agent.reply_ahead import ReplyAhead
from tertulia.engine.agent.resources import Resources
from tertulia.engine.agent.scene import Outcome, Scene, ToolRound
from tertulia.engine.agent.tool_rounds import Calling, Rounds
from tertulia.engine.agent.tool_state import call_tool
from tertulia.engine.agent.toolbox import CallPlace
from tertulia.engine.graph import context_graph, sayings
from tertulia.engine.graph.context_graph import (
    ActionState,
    AnnotationState,
    DecisionState,
    ExitCondition,
    Hop,
    RecallState,
    ReflectionState,
    State,
    ToolCallState,
)
from tertulia.engine.speech.fillers import Fillers, Wait, begun
from tertulia.errors import LostInGraph
from tertulia.providers.base import Prompt

MOST_STEPS = 50
"""Changes of state in one turn after which the next action state speaks, whatever exits it has."""

MOST_SILENT = 1000
"""States in a row of one turn that say nothing; a graph that refers to itself would go deeper without end."""


async def navigate(
    scene: Scene,
    outcome: Outcome,
    resources: Resources,
    fillers: Fillers | None = None,
    ahead: ReplyAhead | None = None,
) -> AsyncGenerator[events.AnyAction, None]:
    """Walk to the next action, and note position, action, objective, thoughts and log in `outcome`.

    Yields each step when it is taken. With `fillers`, a step that takes long is filled; with `ahead`, a reply is begun
    beside the question if the agent stays.

    Raises:
        ModelError: a model cannot be had, or answers with none of the options.
        LostInGraph: the graph has no action to lead to.
    """
    visited: set[context_graph.Position] = set()
    silent: set[context_graph.Position] = set()
    while outcome.position not in silent and len(silent) < MOST_SILENT:
        state = context_graph.state_at(outcome.position, scene.graphs)
        if isinstance(state, ActionState):
            silent.clear()
            may_leave = _may_leave(scene, outcome, visited)
            visited.add(outcome.position)
            offer = actions_and_exits_of(state) if may_leave else actions_of(state)
            rounds = Rounds(Calling(scene, outcome, resources, fillers), _place(outcome, "state-transition"))
            specs = offered(state.exit_condition_tool_call_specs, outcome.behavior)
            if specs and len(offer.by_key) > 1:
                async with aclosing(
                    rounds.run(specs, prompt.Need(prompt.SELECT_NEXT_ACTION, state.objective))
                ) as steps:
                    async for step in steps:
                        yield step
            chosen = await _select_next_action(scene, outcome, resources.models, offer, ahead, rounds.told)
            if isinstance(chosen, str):
                outcome.action, outcome.objective, outcome.action_calls = chosen, state.objective, rounds.logs
                yield events.ActionSelected(sayings.described(chosen))
                return
            for action in _leave(scene, outcome, chosen, rounds.logs):
                yield action
            continue
        silent.add(outcome.position)
        async with aclosing(_pass(scene, outcome, resources, state, fillers)) as actions:
            async for action in actions:
                yield action
    if outcome.position in silent:
        raise LostInGraph("The context graph leads in a circle without an action.")
    raise LostInGraph(f"The context graph leads through more than {MOST_SILENT} states without an action.")


def _pass(
    scene: Scene, outcome: Outcome, resources: Resources, state: State, fillers: Fillers | None
) -> AsyncGenerator[events.AnyAction, None]:
    """Go through a state that does not speak. Returns its steps, each when it is taken."""
    match state:
        case DecisionState():
            return _decide(Calling(scene, outcome, resources, fillers), state)
        case AnnotationState():
            return _annotate(scene, outcome, state)
        case RecallState():
            return _recall(scene, outcome, resources, state)
        case ReflectionState():
            return _reflect(scene, outcome, resources, state, fillers)
        case ToolCallState():
            return _call(Calling(scene, outcome, resources, fillers), state)
        case ActionState():
            raise AssertionError("an action state speaks")


def _may_leave(scene: Scene, outcome: Outcome, visited: set[context_graph.Position]) -> bool:
    """Tell if an action state may be left before it spoke. Returns false when the agent opens the conversation.

    Returns false too for a place that was left once in this turn, and after many steps: a turn comes to its end.
    """
    at_rest = scene.incoming is not None and len(outcome.transitions) < MOST_STEPS
    return at_rest and outcome.position not in visited


async def _select_next_action(
    scene: Scene,
    outcome: Outcome,
    models: Models,
    offer: Offer,
    ahead: ReplyAhead | None,
    results: Sequence[str],
) -> str | ExitCondition:
    """Have the model choose in an action state, told results of tools, and begin the reply beside that.

    Returns the action or the exit. A reply that tools may change is not begun.
    """
    state = context_graph.state_at(outcome.position, scene.graphs)
    assert isinstance(state, ActionState)  # noqa: S101 - the caller has looked
    if len(offer.by_key) == 1:
        return state.actions[0]
    asked = for_navigation(state, outcome.behavior)
    talk = prompt.said_so_far(scene, outcome, results)
    question = prompt.select_next_action(scene, outcome.position.top.graph, asked, talk, offer.choices)
    question = _after_a_move(question, outcome)
    waits = ahead is None or offered(state.action_tool_call_specs, outcome.behavior)
    guess = None if ahead is None or waits else ahead.guess(state)
    if ahead is None or guess is None:
        return offer.by_key[await choose(scene, models, question, offer.choices)]
    with ahead.begun(scene, outcome, models, guess):
        chosen = offer.by_key[await choose(scene, models, question, offer.choices)]
    if chosen != guess:
        ahead.give_up()
    return chosen


def _after_a_move(question: Prompt, outcome: Outcome) -> Prompt:
    """Mark the choice if the user's message has already changed the state in this turn. Returns the question."""
    if question.choice is None or not outcome.transitions:
        return question
    return structs.replace(question, choice=replace(question.choice, has_moved=True))


async def _decide(calling: Calling, state: DecisionState) -> AsyncGenerator[events.AnyAction, None]:
    """Leave a decision state. If that takes long, say something meanwhile. Yields each step when it is taken."""
    scene, outcome = calling.scene, calling.outcome
    yield (started := events.DecisionStarted())
    wait = Wait(calling.fillers, started, state.audio_fillers, state.audio_filler_triggered_after)
    rounds = Rounds(calling, _place(outcome, "state-transition"))
    if specs := offered(state.tool_call_specs, outcome.behavior):
        need = prompt.Need(prompt.SELECT_NEXT_ACTION_FOR_DECISION_STATE, state.objective)
        async with aclosing(rounds.run(specs, need, wait)) as steps:
            async for step in steps:
                yield step
    async with begun(_select_exit(scene, outcome, calling.resources.models, state, rounds.told)) as choice:
        filler = await wait.beside(choice)
        if filler is not None:
            yield filler
        chosen = await choice
    for action in _leave(scene, outcome, chosen, rounds.logs):
        yield action


async def _call(calling: Calling, state: ToolCallState) -> AsyncGenerator[events.AnyAction, None]:
    """Call the tool of a state, and leave it. Yields each step when it is taken."""
    log: dict[str, Any] = {}
    place = _place(calling.outcome, "tool-call-state")
    async with aclosing(call_tool(calling, state, place, log)) as steps:
        async for step in steps:
            yield step
    for action in _told(_go(calling.scene, calling.outcome, state.next_state, log)):
        yield action


def _place(outcome: Outcome, kind: Literal["state-transition", "tool-call-state"]) -> CallPlace:
    """Name the place where a tool may be called now. Returns it, for the first round."""
    top = outcome.position.top
    return CallPlace(kind, top.graph, top.state, transition_index=len(outcome.transitions) + 1)


async def _select_exit(
    scene: Scene, outcome: Outcome, models: Models, state: DecisionState, results: Sequence[str]
) -> ExitCondition:
    if len(state.exit_conditions) == 1:
        return state.exit_conditions[0]
    choices = exits_of(state).choices
    talk = prompt.said_so_far(scene, outcome, results)
    question = prompt.select_exit(scene, for_navigation(state, outcome.behavior), talk, choices)
    key = await choose(scene, models, question, choices)
    return state.exit_conditions[list(choices).index(key)]


async def _annotate(scene: Scene, outcome: Outcome, state: AnnotationState) -> AsyncGenerator[events.AnyAction, None]:
    """Add the thought of a state to the conversation, and leave it. Yields each step when it is taken."""
    thought = outcome.add("agent-inner-thought", scene.agent.identity.name, state.inner_thought)
    yield events.AnnotationRetrieved(state.inner_thought)
    for action in _told(_go(scene, outcome, state.next_state, {"inner_thought_message_id": thought.id})):
        yield action


async def _recall(
    scene: Scene, outcome: Outcome, resources: Resources, state: RecallState
) -> AsyncGenerator[events.AnyAction, None]:
    """Look for what a state wants to know, and leave it. Yields each step when it is taken."""
    before = len(outcome.performed_queries)
    recalled = recall_state(scene, outcome, resources.models, resources.recall, state)
    async with aclosing(recalled) as actions:
        async for action in actions:
            yield action
    log = {"performed_queries": outcome.performed_queries[before:]}
    for action in _told(_go(scene, outcome, state.next_state, log)):
        yield action


async def _reflect(
    scene: Scene, outcome: Outcome, resources: Resources, state: ReflectionState, fillers: Fillers | None
) -> AsyncGenerator[events.AnyAction, None]:
    """Think about the problem of a state, and leave it. Yields each step when it is taken."""
    before = len(outcome.messages)
    rounds = Rounds(Calling(scene, outcome, resources, fillers), _place(outcome, "state-transition"))
    async with aclosing(reflect(rounds, state)) as actions:
        async for action in actions:
            yield action
    thought = outcome.messages[before]
    log: dict[str, Any] = {"inner_thought_message_id": thought.id, "tool_call_logs": rounds.logs}
    for action in _told(_go(scene, outcome, state.next_state, log)):
        yield action


def _leave(scene: Scene, outcome: Outcome, chosen: ExitCondition, calls: Sequence[ToolRound]) -> list[events.AnyAction]:
    """Leave an action or a decision state by an exit condition. Returns the steps to tell."""
    log: dict[str, Any] = {
        "previous_state_exit_condition_description": sayings.described(chosen.description),
        "tool_call_logs": list(calls),
    }
    hops = _go(scene, outcome, chosen.next_state, log)
    target = hops[0].after
    told = events.ExitConditionSelected(sayings.described(chosen.description), target.graph, target.state)
    return [told, *_told(hops)]


def _go(scene: Scene, outcome: Outcome, target: str | tuple[str, str], log: Mapping[str, Any]) -> tuple[Hop, ...]:
    """Step to a target and log each change of state. Returns the changes."""
    kind = context_graph.state_at(outcome.position, scene.graphs).type
    transition = context_graph.step(outcome.position, target, scene.graphs)
    outcome.position = transition.position
    outcome.transitions += [_log(hop, kind, log) for hop in transition.hops]
    return transition.hops


def _log(hop: Hop, kind: str, log: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "jumpback" if hop.jumpback else kind,
        "previous_state": hop.before.state,
        "previous_service_hierarchical_state_machine_version_info": hop.before.graph,
        "next_state": hop.after.state,
        "next_service_hierarchical_state_machine_version_info": hop.after.graph,
        **({} if hop.jumpback else log),
    }


def _told(hops: tuple[Hop, ...]) -> list[events.StateTransitioned]:
    return [
        events.StateTransitioned(hop.before.state, hop.before.graph, hop.after.state, hop.after.graph) for hop in hops
    ]
