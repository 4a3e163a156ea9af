"""The memory of a user as turns search it: by words and by meaning, fused, with recency."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from tertulia.engine.agent.meanings import Meanings
from tertulia.engine.agent.scene import Recollection
from tertulia.storage import memory as memories
from tertulia.storage.database.units import Database
from tertulia.storage.memory import Meaning, Memory
from tertulia.vocabulary import stems

RECALLED = 5
"""Memories that a query gives, the best."""

RANK_OFFSET = 60
"""The constant of reciprocal rank fusion (Cormack, Clarke, Buettcher 2009): a first place counts 1/61."""

RECENCY = 0.3
"""The weight of the rank by time, beside 1 for each of words and meaning."""


KEPT = 20
"""Memories of the working memory of a conversation that its next turn finds, the newest."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """The knowledge of a user when a turn begins: recollections of turns before it, and models of the user."""

    working_memory: Sequence[Recollection] = ()
    models: Sequence[str] = ()


def read_remembered(connection: Connection, user_id: str, working_memory: Sequence[str]) -> Remembered:
    """Read what is remembered of a user, and the memories that a conversation works with. Return it."""
    held = [row for row in memories.list_by_id(connection, working_memory) if row.replaced_by is None]
    models = [model.content for model in memories.list_user_models(connection, user_id)]
    return Remembered([recollection(row) for row in held], models)


class UserMemory:
    """The memory of one user of whom something is remembered."""

    is_empty = False

    def __init__(self, database: Database, user_id: str, meanings: Meanings) -> None:
        self._database = database
        self._user_id = user_id
        self._meanings = meanings

    async def recall(self, queries: Sequence[str], patience_s: float) -> Sequence[Sequence[Recollection]]:
        """Search the memory of the user. Return what is remembered for each query, the nearest first.

        A model of meaning that takes longer than `patience_s` seconds is not waited for: words alone count then.
        """
        try:
            async with asyncio.timeout(patience_s):
                found = await self._meanings.of(queries)
        except TimeoutError:
            found = [None] * len(queries)
        asked = list(zip(queries, found, strict=True))
        return await self._database.read(search, self._user_id, asked)


def search(
    connection: Connection, user_id: str, queries: Sequence[tuple[str, Meaning | None]]
) -> list[list[Recollection]]:
    """Search the memories of a user. Return what is remembered for each query, the nearest first."""
    ranked = [_ranks(connection, user_id, text, meaning) for text, meaning in queries]
    ids = list(dict.fromkeys(memory_id for ranks in ranked for rank in ranks for memory_id in rank))
    rows = {row.id: row for row in memories.list_by_id(connection, ids)}
    return [[recollection(rows[memory_id]) for memory_id in fuse(ranks, rows)[:RECALLED]] for ranks in ranked]


def _ranks(connection: Connection, user_id: str, text: str, meaning: Meaning | None) -> list[list[str]]:
    by_words = memories.find_by_words(connection, user_id, stems(text))
    return [by_words] if meaning is None else [by_words, memories.find_by_meaning(connection, user_id, meaning)]


def fuse(ranks: Sequence[Sequence[str]], rows: Mapping[str, Memory]) -> list[str]:
    """Fuse ranks of memories by reciprocal rank, with their rank by time. Return the identifiers, the best first."""
    ids = list(dict.fromkeys(memory_id for rank in ranks for memory_id in rank if memory_id in rows))
    by_time = sorted(ids, key=lambda memory_id: (rows[memory_id].created_at, memory_id), reverse=True)
    scores = dict.fromkeys(ids, 0.0)
    for rank, weight in [*((rank, 1.0) for rank in ranks), (by_time, RECENCY)]:
        for place, memory_id in enumerate(rank, 1):
            if memory_id in scores:
                scores[memory_id] += weight / (RANK_OFFSET + place)
    return sorted(ids, key=lambda memory_id: (-scores[memory_id], memory_id))


def recollection(memory: Memory) -> Recollection:
    """Make a recollection of a memory. Return it, with the day on which it was said."""
    said = f"said on {memory.created_at:%Y-%m-%d}"
    return Recollection(memory.id, memory.content, f"{memory.context} ({said})" if memory.context else said)
