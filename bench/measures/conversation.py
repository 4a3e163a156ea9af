"""The first conversation: what the local model's turns cost in CPU seconds and in tokens, which time hardly changes."""

import asyncio
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.conversation import Conversation, Turn
from bench.figures import PRODUCT, Bound, Figure, Section
from bench.setting import Setting
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
    "the agent's text, which is remembered from there on. A turn that changes state asks the model more than one that "
    "stays. Turns differ also by the length of their replies, which is in the figures. The states: {states}."
)


def measure(setting: Setting) -> Section:
    """Hold the conversation. Returns the figures, or none if the weights are not here."""
    wanted = weights.default(MODELS)
    path = weights.find(wanted, MODELS)
    if path is None:
        return Section("The local model", [], f"The weights of {wanted.name} are not in {MODELS}.")
    require_machine()
    greeting, *turns = asyncio.run(_converse(path))
    changed = [turn for before, turn in zip([greeting, *turns], turns, strict=False) if turn.state != before.state]
    stayed = [turn for turn in turns if turn not in changed]
    text = _TEXT.format(
        lines=len(LINES), model=wanted.name, states=", ".join(turn.state for turn in [greeting, *turns])
    )
    return Section("The local model", _figures(greeting, turns, changed, stayed), text)


def _figures(greeting: Turn, turns: Sequence[Turn], changed: Sequence[Turn], stayed: Sequence[Turn]) -> list[Figure]:
    return [
        Figure("CPU of the greeting", "s", {PRODUCT: greeting.cpu_s}),
        Figure("CPU of a turn, mean", "s", {PRODUCT: _mean(turns, _cpu)}),
        Figure("tokens read in a turn, mean", "", {PRODUCT: _mean(turns, lambda turn: turn.read)}),
        Figure("tokens written in a turn, mean", "", {PRODUCT: _mean(turns, lambda turn: turn.written)}),
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


async def _converse(path: Path) -> list[Turn]:
    """Hold the conversation. Returns its turns, the greeting first."""
    embedder = LocalEmbedder() if is_available() else None
    model = LocalModel(path, _STALL_S, lambda: embedder)
    await model.start()
    try:
        conversation = Conversation(model)
        return [await conversation.say(text) for text in (None, *LINES)]
    finally:
        await model.aclose()
