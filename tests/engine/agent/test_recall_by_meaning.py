"""Memories are found by other words than they were said in, with the real embedding model."""

from collections.abc import Iterator, Sequence

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.engine.agent.meanings import Meanings
from tertulia.engine.agent.remembering import search
from tertulia.engine.agent.scene import Recollection
from tertulia.ids import new_id
from tertulia.providers.embeddings import local
from tertulia.storage import memory as memories
from tertulia.storage.memory import Meaning, Memory
from tertulia.storage.tables import metadata
from tertulia.vocabulary import stems

SAID = (
    "I live in Graz with my two daughters.",
    "I am allergic to penicillin.",
    "I cannot eat gluten.",
    "I run half marathons in spring.",
    "My car is an old blue Fiat.",
    "I play the cello in an amateur orchestra.",
    "I am afraid of flying.",
    "We are getting married next June.",
    "My dog Bruno is twelve years old.",
    "My mother lives in a nursing home.",
    "I would rather be written to than called.",
    "I take pills for my blood pressure.",
    "I wake up at three and cannot fall asleep again.",
    "I grow tomatoes on the balcony.",
    "I lost my job at the printing house.",
    "My bank account is overdrawn.",
)
WANTED = {
    "Where is home for you and how many kids do you have?": 0,
    "Which antibiotics must be avoided?": 1,
    "What sport do they train for?": 3,
    "Do they make music?": 5,
    "Would they take a plane?": 6,
    "What is the name of their pet?": 8,
    "Should we phone them?": 10,
    "Welche Medikamente nimmt sie?": 11,
    "Trouble with insomnia": 12,
    "¿Tiene problemas de dinero?": 15,
}


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = sa.create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection:
        yield connection


@pytest.mark.skipif(not local.is_available(), reason="this machine cannot run the model")
async def test_five_memories_have_the_one_that_is_meant_and_words_alone_have_not(connection: Connection) -> None:
    meanings = Meanings(local.LocalEmbedder(), local.LABEL)
    ids: list[str] = []
    for content, meaning in zip(SAID, await meanings.of(SAID), strict=True):
        made = Memory(new_id(), "org", "user", "talk", content, "", [], True, False, None, clock.now(), None)
        memories.insert_memory(connection, made, stems(content), meaning)
        ids.append(made.id)
    by_meaning = list(zip(WANTED, await meanings.of(list(WANTED)), strict=True))
    by_words: list[tuple[str, Meaning | None]] = [(query, None) for query in WANTED]

    found, found_by_words = (search(connection, "user", queries) for queries in (by_meaning, by_words))

    missed = [query for (query, index), some in zip(WANTED.items(), found, strict=True) if ids[index] not in _ids(some)]
    assert missed == []
    assert sum(ids[index] in _ids(some) for index, some in zip(WANTED.values(), found_by_words, strict=True)) < 3


def _ids(found: Sequence[Recollection]) -> list[str]:
    return [recollection.id for recollection in found]
