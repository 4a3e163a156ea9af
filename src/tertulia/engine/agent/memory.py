"""Memory in a turn: active memory at its start, recall states on its way, and what is remembered of them.

Active memory asks no language model: the user's own message is the query, so a reply that is begun at once has it. A
user of whom nothing is remembered costs nothing.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, Protocol, cast

from tertulia import events
from tertulia.engine.agent import prompt
from tertulia.engine.agent.models import Models, model_for
from tertulia.engine.agent.scene import Outcome, Recollection, Scene
from tertulia.engine.graph.context_graph import ActionState, RecallState, state_at
from tertulia.errors import ModelMisbehaved
from tertulia.vocabulary import fold, stems

ENOUGH_WORDS = 3
"""Words that say something, with which a message is a query by itself; the agent's words before it help a shorter."""

LONGEST_QUERY = 300
"""Characters of a message that a query has, its last ones; and of a query that a model writes, its first ones."""

MOST_QUERIES = 5
"""Queries that a recall state asks for one piece of information."""


ACTIVE_PATIENCE_S = 0.15
"""The time that active memory waits for the meaning of its query, in seconds: the reply waits for it too."""

STATE_PATIENCE_S = 5.0
"""The time that a recall state waits for the meaning of its queries, in seconds."""


class Recall(Protocol):
    """The memory of a user."""

    @property
    def is_empty(self) -> bool:
        """True if nothing was ever remembered of the user."""
        ...

    async def recall(self, queries: Sequence[str], patience_s: float) -> Sequence[Sequence[Recollection]]:
        """Search the memory of the user. Return what is remembered for each query, the nearest first.

        A model of meaning that takes longer than `patience_s` seconds is not waited for: words alone count then.
        """
        ...


class _NoRecall:
    is_empty = True

    async def recall(self, queries: Sequence[str], patience_s: float) -> Sequence[Sequence[Recollection]]:
        return [() for _query in queries]


NO_RECALL: Recall = _NoRecall()
"""A memory that finds nothing."""

_CHOICE = (events.BehaviorVectorGenerated, events.BehaviorsRetrieved, events.BehaviorSelected)


# --- Active memory ---------------------------------------------------------------------------------------------------


async def recall_actively(scene: Scene, outcome: Outcome, recall: Recall) -> Sequence[events.AnyAction]:
    """Look for what is remembered of the matter of the user's message, and note it in `outcome`. Return the steps."""
    if recall.is_empty or not _is_due(scene):
        return []
    queries = _queries(scene)
    checked = events.ActiveMemoryChecked(queries)
    if not queries:
        return [checked]
    found = await recall.recall(queries, ACTIVE_PATIENCE_S)
    for recollections in found:
        outcome.remember(recollections)
    return [checked, events.ActiveMemoriesExtracted(_told(queries, found))]


async def told_after_choice(
    actions: AsyncGenerator[events.AnyAction, None], steps: Sequence[events.AnyAction]
) -> AsyncGenerator[events.AnyAction, None]:
    """Put the steps of active memory after those of the choice of a behaviour. Yields all steps."""
    waiting = list(steps)
    async with aclosing(actions):
        async for action in actions:
            if waiting and not isinstance(action, _CHOICE):
                for step in waiting:
                    yield step
                waiting.clear()
            yield action


def _is_due(scene: Scene) -> bool:
    if scene.incoming is None or scene.incoming.type == "skip":
        return False
    state = state_at(scene.position, scene.graphs)
    return not (isinstance(state, ActionState) and state.skip_active_memory_retrieval)


def _queries(scene: Scene) -> list[str]:
    """Make a query of the user's message, with the agent's words before it if it says little. Returns none or one."""
    incoming = scene.incoming
    text = "" if incoming is None else " ".join(incoming.text.split())[-LONGEST_QUERY:]
    if len(stems(text)) < ENOUGH_WORDS:
        spoken = [message.content for message in scene.history if message.message_type == "agent-message"]
        text = f"{' '.join(spoken[-1].split())[-LONGEST_QUERY:]} {text}" if spoken else text
    return [text] if stems(text) else []


# --- Recall states ---------------------------------------------------------------------------------------------------


async def recall_state(
    scene: Scene, outcome: Outcome, models: Models, recall: Recall, state: RecallState
) -> AsyncGenerator[events.AnyAction, None]:
    """Look for what a recall state wants to know; a query that this conversation has asked is not asked again.

    Yields each step when it is taken, and notes queries and recollections in `outcome`.

    Raises:
        ModelError: the model that is asked for queries cannot be had, or does not answer as it was asked.
    """
    queries = [*state.queries] if state.queries else []
    if queries:
        yield events.StaticQueriesRetrieved(queries)
    if state.requested_information is not None:
        dynamic = await _generate(scene, outcome, models, recall, state.requested_information)
        yield events.DynamicQueriesGenerated(dynamic, state.requested_information)
        queries += dynamic
    asked = {fold(query) for query in (*scene.performed_queries, *outcome.performed_queries)}
    new: list[str] = []
    for query in queries:
        if (key := fold(query)) not in asked:
            asked.add(key)
            new.append(query)
    found: Sequence[Sequence[Recollection]] = await recall.recall(new, STATE_PATIENCE_S) if new else ()
    outcome.performed_queries += new
    for recollections in found:
        outcome.remember(recollections)
    yield events.MemoriesRecalled(_told(new, found))


async def _generate(scene: Scene, outcome: Outcome, models: Models, recall: Recall, wanted: str) -> list[str]:
    """Ask a model for queries by which to find a piece of information. Returns them.

    If nothing is remembered, no model is asked: what is wanted is the query.
    """
    if recall.is_empty:
        return [wanted]
    question, schema = prompt.generate_recall_queries(scene, wanted, prompt.said_so_far(scene, outcome), MOST_QUERIES)
    model, question = model_for(models, scene.llm_model_preferences, question)
    answer = await model.choose(question, schema)
    items = cast("dict[str, Any]", answer).get("queries") if isinstance(answer, dict) else None
    if not isinstance(items, list):
        raise ModelMisbehaved(f"{question.interaction} answered without a list of queries")
    texts = [" ".join(item.split()) for item in cast("list[Any]", items) if isinstance(item, str)]
    return [text[:LONGEST_QUERY] for text in texts if text][:MOST_QUERIES]


def _told(queries: Sequence[str], found: Sequence[Sequence[Recollection]]) -> list[tuple[str, str]]:
    """Write what was found for each query. Returns pairs of a query and a text, which is empty for nothing."""
    return [
        (query, "\n".join(recollection.text for recollection in recollections))
        for query, recollections in zip(queries, found, strict=True)
    ]
