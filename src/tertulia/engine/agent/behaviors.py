"""Dynamic behaviours in a turn: which one applies is chosen beside navigation, and changes what follows.

The last turns are compared with the triggers of the service's behaviours; the nearest, and the one that the turn
before chose, are put to the model, which picks one or none. Navigation does not wait for that: it begins as if the
choice of the turn before still held, and begins again if the choice is another. No tool is called before that is
certain.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace

import structlog

from tertulia import clock, events
from tertulia.engine.agent import prompt
from tertulia.engine.agent.choosing import choose
from tertulia.engine.agent.models import Models
from tertulia.engine.agent.navigation import navigate
from tertulia.engine.agent.nearness import Nearness, by_words
from tertulia.engine.agent.options import NONE, Choices, Matters
from tertulia.engine.agent.reply_ahead import ReplyAhead
from tertulia.engine.agent.resources import Resources
from tertulia.engine.agent.scene import Behavior, Outcome, Scene
from tertulia.engine.agent.toolbox import HeldToolbox
from tertulia.engine.graph import sayings
from tertulia.engine.graph.context_graph import ToolCallSpec
from tertulia.engine.speech.fillers import Fillers, begun
from tertulia.errors import ModelError
from tertulia.storage.behavior import ActiveBehavior
from tertulia.storage.turn.values import Invocation, Message

RECENT_TURNS = 3
"""Messages, those of one side in a row counting as one, that triggers are compared with."""

NEAREST = 8
"""Triggers whose behaviours are put to the model."""

MOST_SHOWN = 20
"""Behaviours that are put to the model if nothing can tell which are near."""

MOST_TRIGGERS = 2000
"""Triggers of a service that a turn considers, those of the oldest sets."""

_RECENT_CHARS = 2000  # of a message: it is about one thing, and a long one costs no more
_SHOWN_CHARS = 600  # of an option's triggers

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A behaviour that the model may pick, and the triggers to show of it, the nearest first."""

    behavior: Behavior
    triggers: Sequence[str]


def parse(rows: Sequence[ActiveBehavior]) -> tuple[Behavior, ...]:
    """Read the behaviours of a service from their rows. Return them, up to a number of triggers in all."""
    made: list[Behavior] = []
    room = MOST_TRIGGERS
    for row in rows:
        room -= len(row.conversation_triggers)
        if room < 0:
            log.warning("dynamic behaviours left out", considered=len(made), left_out=len(rows) - len(made))
            break
        told = [action for action in row.actions if action["type"] == "inject-instruction"]
        tools = [action for action in row.actions if action["type"] == "change-tool-candidates"]
        made.append(
            Behavior(
                version=row.version,
                name=row.name,
                triggers=tuple(row.conversation_triggers),
                instructions=tuple(action["instruction"] for action in told),
                overrides=any(action["overrides_instructions"] for action in told),
                tool_call_specs=tuple(
                    ToolCallSpec.model_validate(spec) for action in tools for spec in action["tool_call_specs"]
                ),
                overrides_tools=any(action["overrides_existing_tool_call_specs"] for action in tools),
            )
        )
    return tuple(made)


def navigate_beside(
    scene: Scene, outcome: Outcome, resources: Resources, fillers: Fillers | None, ahead: ReplyAhead
) -> AsyncGenerator[events.AnyAction, None]:
    """Choose a behaviour and walk to the next action, side by side. Return the steps of the choice, then the walk's.

    Without behaviours, or without a message that could have called for one, this is the walk alone.

    Raises:
        ModelError, LostInGraph: see navigation.navigate.
    """
    if is_due(scene):
        return _navigate_beside(scene, outcome, resources, fillers, ahead)
    return navigate(scene, outcome, resources, fillers, ahead)


async def _navigate_beside(
    scene: Scene, outcome: Outcome, resources: Resources, fillers: Fillers | None, ahead: ReplyAhead
) -> AsyncGenerator[events.AnyAction, None]:
    guess = _in_force(scene)
    draft = outcome.fork()
    draft.behavior = guess
    held = HeldToolbox(resources.tools.toolbox)
    tentative = replace(resources, tools=replace(resources.tools, toolbox=held))
    steps: asyncio.Queue[events.AnyAction | None] = asyncio.Queue()
    async with begun(_walk(navigate(scene, draft, tentative, fillers, ahead), steps)) as walk:
        async with aclosing(select(scene, outcome, resources.models, resources.nearness)) as selected:
            async for action in selected:
                yield action
        if outcome.behavior == guess:
            held.let_go()
            for override in _overridden(outcome.behavior):
                yield override
            while (step := await steps.get()) is not None:
                yield step
            await walk
            outcome.adopt(draft)
            return
    for override in _overridden(outcome.behavior):
        yield override
    async with aclosing(navigate(scene, outcome, resources, fillers, ahead)) as walked:
        async for action in walked:
            yield action


def is_due(scene: Scene) -> bool:
    """Return whether a behaviour is to be chosen: the service has some, and there is a message to choose by."""
    return bool(scene.behaviors) and scene.incoming is not None and scene.incoming.type != "skip"


def speech_override(behavior: Behavior | None) -> list[events.AnyAction]:
    """List the step in which a behaviour changes the reply. Return none if it does not."""
    if behavior is None or not behavior.is_felt:
        return []
    return [events.SpeechOverridden(behavior.overrides, behavior.overrides_tools)]


def _overridden(behavior: Behavior | None) -> list[events.AnyAction]:
    if behavior is None or not behavior.is_felt:
        return []
    return [events.NavigationOverridden(behavior.overrides, behavior.overrides_tools)]


async def _walk(walk: AsyncGenerator[events.AnyAction, None], steps: "asyncio.Queue[events.AnyAction | None]") -> None:
    """Walk to the next action ahead of the choice. Puts each step into the queue, and None after the last."""
    try:
        async with aclosing(walk) as walked:
            async for action in walked:
                steps.put_nowait(action)
    finally:
        steps.put_nowait(None)


# --- The choice ------------------------------------------------------------------------------------------------------


async def select(
    scene: Scene, outcome: Outcome, models: Models, nearness: Nearness
) -> AsyncGenerator[events.AnyAction, None]:
    """Choose one of the service's behaviours, or none, and note the choice in `outcome`. Yield its three steps.

    Raises:
        ModelError: the model cannot be had, or answers with none of the options.
    """
    talk = prompt.said_so_far(scene, outcome)
    recent = [turn.content[-_RECENT_CHARS:] for turn in talk.turns[-RECENT_TURNS:]]
    near = await _near(nearness, recent, scene.behaviors)
    yield events.BehaviorVectorGenerated()
    candidates = _candidates(near, recent, scene)
    yield events.BehaviorsRetrieved()
    chosen = await _pick(scene, models, talk, candidates)
    if chosen is not None:
        outcome.behavior = chosen
        outcome.invocation = _invocation(chosen, scene, outcome)
    yield events.BehaviorSelected(None if chosen is None else chosen.version, scene.previous_behavior)


async def _near(
    nearness: Nearness, recent: Sequence[str], behaviors: Sequence[Behavior]
) -> Sequence[tuple[Behavior, str]] | None:
    """Look for the triggers that are nearest to what was said. Return them, or None if nothing can tell."""
    pairs = [(behavior, trigger) for behavior in behaviors for trigger in behavior.triggers]
    try:
        order = await nearness.nearest(recent, [trigger for _behavior, trigger in pairs], NEAREST)
    except ModelError as error:
        log.warning("triggers not compared", error=type(error).__name__, reason=error.reason)
        return None
    return None if order is None else [pairs[index] for index in order]


def _candidates(
    near: Sequence[tuple[Behavior, str]] | None, recent: Sequence[str], scene: Scene
) -> Sequence[Candidate]:
    """List what the model may pick from. Return the nearest first, and the behaviour that is in force among them."""
    if near is None:
        texts = [" ".join([behavior.name, *behavior.triggers]) for behavior in scene.behaviors]
        order = range(len(texts)) if len(texts) <= MOST_SHOWN else by_words(recent, texts)[:MOST_SHOWN]
        found = {scene.behaviors[index]: list(scene.behaviors[index].triggers) for index in order}
    else:
        found: dict[Behavior, list[str]] = {}
        for behavior, trigger in near:
            found.setdefault(behavior, []).append(trigger)
    held = _in_force(scene)
    if held is not None:
        found.setdefault(held, list(held.triggers))
    return [Candidate(behavior, triggers) for behavior, triggers in found.items()]


async def _pick(scene: Scene, models: Models, talk: prompt.Said, candidates: Sequence[Candidate]) -> Behavior | None:
    keyed = {f"behavior-{number}": candidate for number, candidate in enumerate(candidates, 1)}
    texts = {key: _text(candidate) for key, candidate in keyed.items()}
    choices = Choices({NONE: "None of these matters.", **texts})
    matters = Matters(choices, {key: _sayings(candidate.behavior) for key, candidate in keyed.items()})
    held = _in_force(scene)
    key_in_force = next((key for key, candidate in keyed.items() if candidate.behavior is held), None)
    question = prompt.select_dynamic_behavior(scene, talk, matters, key_in_force)
    key = await choose(scene, models, question, choices)
    return keyed[key].behavior if key in keyed else None


def _text(candidate: Candidate) -> str:
    """Write an option on one line, whatever its texts are. Return the name and as many triggers as there is room.

    A trigger of sayings alone is shown by its sayings.
    """
    shown = (sayings.described(trigger) or trigger for trigger in candidate.triggers)
    triggers = " / ".join(" ".join(text.split()) for text in shown)
    return f"{' '.join(candidate.behavior.name.split())} ({triggers[:_SHOWN_CHARS]})"


def _sayings(behavior: Behavior) -> Sequence[str]:
    """Collect what people say who mean a behaviour: its triggers, and the sayings at their ends. Return both."""
    parted = [sayings.split(trigger) for trigger in behavior.triggers]
    return [one for described, said in parted for one in (described, *said) if one.strip()]


def _in_force(scene: Scene) -> Behavior | None:
    """Look for the behaviour that the turn before chose. Return its latest version, or None if it is not active."""
    if scene.previous_behavior is None:
        return None
    set_id, _version = scene.previous_behavior
    return next((behavior for behavior in scene.behaviors if behavior.version[0] == set_id), None)


def _invocation(chosen: Behavior, scene: Scene, outcome: Outcome) -> Invocation:
    """Note the messages that led to a choice: those of this turn so far, and the agent's before. Return the note."""
    *external, initial = outcome.messages
    agent_message_id, thoughts = _answered(scene.history)
    return Invocation(
        behavior=chosen.version,
        initial_message_id=initial.id,
        agent_message_id=agent_message_id,
        inner_thought_ids=thoughts,
        external_event_ids=[message.id for message in external],
        invoked_at=clock.now(),
    )


def _answered(history: Sequence[Message]) -> tuple[str | None, list[str]]:
    """Look for the agent's last message. Return its identifier, if there is one, and those of the thoughts with it."""
    agent_message_id: str | None = None
    thoughts: list[str] = []
    for message in reversed(history):
        if message.message_type == "agent-message":
            if agent_message_id is not None:
                break
            agent_message_id = message.id
        elif message.message_type == "agent-inner-thought":
            thoughts.insert(0, message.id)
    return agent_message_id, thoughts
