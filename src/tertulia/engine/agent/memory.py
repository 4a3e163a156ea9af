"""Memory in a turn: what a recall state asks for, and what is remembered of it."""

from collections.abc import AsyncGenerator, Sequence
from typing import Protocol

from tertulia import events
from tertulia.engine.agent.models import Models
from tertulia.engine.agent.scene import Outcome, Recollection, Scene
from tertulia.engine.graph.context_graph import RecallState


class Recall(Protocol):
    """The memory of a user."""

    async def recall(self, queries: Sequence[str]) -> Sequence[Sequence[Recollection]]:
        """Search the memory of the user. Return what is remembered for each query, the nearest first."""
        ...


class _NoRecall:
    async def recall(self, queries: Sequence[str]) -> Sequence[Sequence[Recollection]]:
        return [() for _query in queries]


NO_RECALL: Recall = _NoRecall()
"""A memory that finds nothing."""


async def recall_state(
    scene: Scene, outcome: Outcome, models: Models, recall: Recall, state: RecallState
) -> AsyncGenerator[events.AnyAction, None]:
    """Look for what a recall state wants to know; a query that this conversation has asked is not asked again.

    Yields each step when it is taken, and notes queries and recollections in `outcome`.
    """
    queries = [*state.queries] if state.queries else []
    if queries:
        yield events.StaticQueriesRetrieved(queries)
    if state.requested_information is not None:
        dynamic = [state.requested_information]
        yield events.DynamicQueriesGenerated(dynamic, state.requested_information)
        queries += dynamic
    asked = {*scene.performed_queries, *outcome.performed_queries}
    new = [query for query in dict.fromkeys(queries) if query not in asked]
    found: Sequence[Sequence[Recollection]] = await recall.recall(new) if new else ()
    outcome.performed_queries += new
    for recollections in found:
        outcome.remember(recollections)
    told = [
        (query, "\n".join(recollection.content for recollection in recollections))
        for query, recollections in zip(new, found, strict=True)
    ]
    yield events.MemoriesRecalled(told)
