"""The first conversation: what the local model's turns cost in CPU seconds and in tokens, which time hardly changes."""

import asyncio
import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.conversation import GRAPH, Conversation, Turn
from bench.figures import PRODUCT, Bound, Figure, Section
from bench.setting import Setting
from tertulia.demo.content import CONTEXT_GRAPH
from tertulia.engine.graph import sayings
from tertulia.engine.graph.context_graph import ContextGraph
from tertulia.providers import weights
from tertulia.providers.embeddings.local import LocalEmbedder, is_available
from tertulia.providers.machine import require_machine
from tertulia.providers.models.local import LocalModel

MOST_FOR_A_CHANGE = 1.5
MOST_FOR_TURN_6 = 1.3
LINES = (
    "I would like a short novel.",
    "What is it about?",
    "How many pages does it have?",
    "When do you meet?",
    "What does it cost?",
    "Do you have a funny book?",
)
MODELS = Path(".data/models")
_STALL_S = 600

_TEXT = (
    "A conversation of {lines} turns with the demo agent and {model}, in this process on all cores. The greeting reads "
    "the agent's text, which is remembered from there on. Most replies are the author's words, said by the server. So "
    "the ratios are those of the same conversation with an agent that has none, neither replies nor sayings: the model "
    "makes every choice and writes every reply. A turn that changes state asks it more than one that stays. Turns also "
    "differ by the length of their replies, which is in the figures. The states: {states}; without the author's words: "
    "{bare}."
)


def measure(setting: Setting) -> Section:
    """Hold the conversations. Returns the figures, or none if the weights are not here."""
    wanted = weights.default(MODELS)
    path = weights.find(wanted, MODELS)
    if path is None:
        return Section("The local model", [], f"The weights of {wanted.name} are not in {MODELS}.")
    require_machine()
    written, bare = asyncio.run(_converse(path))
    text = _TEXT.format(lines=len(LINES), model=wanted.name, states=_states(written), bare=_states(bare))
    return Section("The local model", [*_figures(*written), *_ratios(*bare)], text)


def _states(turns: Sequence[Turn]) -> str:
    return ", ".join(turn.state for turn in turns)


def _figures(greeting: Turn, *turns: Turn) -> list[Figure]:
    return [
        Figure("CPU of the greeting", "s", {PRODUCT: greeting.cpu_s}),
        Figure("CPU of a turn, mean", "s", {PRODUCT: _mean(turns, _cpu)}),
        Figure("tokens read in a turn, mean", "", {PRODUCT: _mean(turns, lambda turn: turn.read)}),
        Figure("tokens written in a turn, mean", "", {PRODUCT: _mean(turns, lambda turn: turn.written)}),
    ]


def _ratios(greeting: Turn, *turns: Turn) -> list[Figure]:
    """Compare turns in which the model does everything. Returns the figures."""
    changed = [turn for before, turn in zip([greeting, *turns], turns, strict=False) if turn.state != before.state]
    stayed = [turn for turn in turns if turn not in changed]
    return [
        Figure("CPU of a turn without the author's words, mean", "s", {PRODUCT: _mean(turns, _cpu)}),
        _ratio("CPU of a turn that changes state, to one that stays", changed, stayed, MOST_FOR_A_CHANGE),
        _ratio("CPU of turn 6, to turn 2", turns[5:6], turns[1:2], MOST_FOR_TURN_6),
    ]


def _ratio(name: str, some: Sequence[Turn], others: Sequence[Turn], limit: float) -> Figure:
    value = _mean(some, _cpu) / _mean(others, _cpu)
    tokens = _mean(some, _tokens) / _mean(others, _tokens)
    return Figure(name, "", {PRODUCT: value}, bound=Bound(value, limit, "at most"), note=f"in tokens {tokens:.2f}")


def _mean(turns: Sequence[Turn], figure: Callable[[Turn], float]) -> float:
    return statistics.mean(map(figure, turns))


def _cpu(turn: Turn) -> float:
    return turn.cpu_s


def _tokens(turn: Turn) -> float:
    return turn.read + turn.written


async def _converse(path: Path) -> tuple[Sequence[Turn], Sequence[Turn]]:
    """Hold the conversation, and once more without the author's words. Returns the turns of each, greetings first."""
    embedder = LocalEmbedder() if is_available() else None
    model = LocalModel(path, _STALL_S, lambda: embedder)
    await model.start()
    try:
        return await _hold(Conversation(model)), await _hold(Conversation(model, graphs=_without_words()))
    finally:
        await model.aclose()


async def _hold(conversation: Conversation) -> Sequence[Turn]:
    return [await conversation.say(text) for text in (None, *LINES)]


def _without_words() -> Mapping[tuple[str, int], ContextGraph]:
    """Take sayings, openings and replies out of the demo's graph. Returns what is left."""

    def bare(state: Mapping[str, Any]) -> dict[str, Any]:
        actions = [sayings.described(text) for text in state.get("actions", ())]
        exits = [
            exit_ | {"description": sayings.described(exit_["description"])}
            for exit_ in state.get("exit_conditions", ())
        ]
        return {**state, **({"actions": actions, "exit_conditions": exits} if "actions" in state else {})}

    graph = CONTEXT_GRAPH | {"states": [bare(state) for state in CONTEXT_GRAPH["states"]]}
    return {GRAPH: ContextGraph.model_validate(graph)}
