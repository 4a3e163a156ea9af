"""Round trips to a model until the first piece of a reply is there, if the agent stays in its state or moves."""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from bench.conversation import GRAPH, NO_VOICES, Only
from bench.figures import PRODUCT, Bound, Figure, Section
from bench.setting import Setting
from tertulia import events
from tertulia.demo.content import AGENT
from tertulia.engine.agent.interaction import interact
from tertulia.engine.agent.memory import NO_RECALL
from tertulia.engine.agent.reply_ahead import GUESSES
from tertulia.engine.agent.resources import Resources
from tertulia.engine.agent.scene import Agent, Behavior, Incoming, Outcome, Person, Recollection, Scene
from tertulia.engine.graph.context_graph import ContextGraph, Frame, Position
from tertulia.providers.base import Prompt
from tertulia.providers.models.scripted import ScriptedModel

CALL_S = 0.3
MOST_IF_IT_STAYS, MOST_IF_IT_MOVES = 1.1, 2.1

_TEXT = (
    f"The scripted model, with a pause of {1000 * CALL_S:.0f} ms before each answer, in this process: a choice and the "
    "first piece of a reply take one round trip each. The user says something in an action state with one action and "
    "two exits; with behaviours and memory, a dynamic behaviour is chosen beside that, and something is recalled. The "
    "last two figures are those of TERTULIA_TURN_REPLY_AHEAD=off. The shortest of several runs counts: what "
    "else the machine does comes on top."
)

_STATE: dict[str, Any] = {
    "type": "action",
    "objective": "Learn which kind of book the person likes.",
    "intra_state_navigation_guidelines": [],
    "action_guidelines": [],
    "boundary_constraints": [],
    "action_tool_call_specs": [],
    "exit_condition_tool_call_specs": [],
    "skip_active_memory_retrieval": False,
}
_EXITS = [
    {"description": "The person names a book.", "next_state": "book"},
    {"description": "The person says goodbye.", "next_state": "end"},
]
_GRAPH = ContextGraph.model_validate(
    {
        "description": "Books.",
        "new_user_initial_state": "ask",
        "returning_user_initial_state": "ask",
        "terminal_state": "end",
        "references": {},
        "global_intra_state_navigation_guidelines": [],
        "global_action_guidelines": [],
        "global_boundary_constraints": [],
        "states": [
            {**_STATE, "name": "ask", "actions": ["Ask what they like."], "exit_conditions": _EXITS},
            {**_STATE, "name": "book", "actions": ["Talk about the book."], "exit_conditions": _EXITS[1:]},
            {**_STATE, "name": "end", "actions": ["Say goodbye."], "exit_conditions": []},
        ],
    }
)
_BEHAVIORS = (Behavior(("b" * 24, 1), "Comfort", ("The person is sad.",), ("Be kind.",), overrides=False),)


class _Slow:
    """The scripted model, a round trip away."""

    def __init__(self) -> None:
        self._model = ScriptedModel()

    async def stream(self, prompt: Prompt) -> AsyncGenerator[str]:
        await asyncio.sleep(CALL_S)
        async with aclosing(self._model.stream(prompt)) as pieces:
            async for piece in pieces:
                yield piece

    async def choose(self, prompt: Prompt, schema: Mapping[str, Any]) -> Any:
        await asyncio.sleep(CALL_S)
        return await self._model.choose(prompt, schema)


class _Memory:
    """A memory with one recollection, which every query finds."""

    is_empty = False

    async def recall(self, queries: Sequence[str], patience_s: float) -> Sequence[Sequence[Recollection]]:
        return [[Recollection("c" * 24, "They like short books.", "Said last week.")] for _query in queries]


def measure(setting: Setting) -> Section:
    rounds = max(3, setting.effort.replies // 4)
    stays, moves = "I like poems.", "I have read a book."

    def trips(said: str, guess: str = "one-action", behaviors: Sequence[Behavior] = ()) -> float:
        return min(asyncio.run(_first_piece_s(said, guess, behaviors)) for _ in range(rounds)) / CALL_S

    bounded = [
        ("the agent stays", trips(stays), MOST_IF_IT_STAYS),
        ("the agent stays, with behaviours and memory", trips(stays, behaviors=_BEHAVIORS), MOST_IF_IT_STAYS),
        ("the agent moves", trips(moves), MOST_IF_IT_MOVES),
        ("the agent moves, with behaviours and memory", trips(moves, behaviors=_BEHAVIORS), MOST_IF_IT_MOVES),
    ]
    free = [("the agent stays, off", trips(stays, "off")), ("the agent moves, off", trips(moves, "off"))]
    figures = [Figure(name, "trips", {PRODUCT: it}, bound=Bound(it, most, "at most")) for name, it, most in bounded]
    figures += [Figure(name, "trips", {PRODUCT: it}) for name, it in free]
    return Section("Round trips to the first piece", figures, _TEXT)


async def _first_piece_s(said: str, guess: str, behaviors: Sequence[Behavior]) -> float:
    """Run an interaction up to its first piece. Returns the time until then, in seconds."""
    position = Position((Frame(GRAPH, "ask"),))
    scene = Scene(
        agent=Agent.model_validate(AGENT),
        graphs={GRAPH: _GRAPH},
        position=position,
        person=Person("Demo User", None, "UTC", ()),
        history=(),
        incoming=Incoming("user-message", said),
        llm_model_preferences={},
        behaviors=behaviors,
    )
    recall = _Memory() if behaviors else NO_RECALL
    resources = Resources(Only(_Slow()), NO_VOICES, recall=recall, guess=GUESSES[guess])
    began = time.perf_counter()
    async with aclosing(interact(scene, Outcome(position, None), resources)) as happening:
        async for event in happening:
            if isinstance(event, events.NewMessage):
                return time.perf_counter() - began
    raise AssertionError("an interaction without a piece ends with an error")
