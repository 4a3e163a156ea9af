"""The search for memories: by words and by meaning, of one user among others, and what it costs."""

import random
from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import event
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.ids import new_id
from tertulia.storage import memory as memories
from tertulia.storage.database.units import Database
from tertulia.storage.memory import Meaning, Memory
from tertulia.vocabulary import stems

pytestmark = pytest.mark.both_databases

DIMENSIONS = 64


@pytest.fixture
def connection(database: Database) -> Iterator[Connection]:
    """A transaction of which nothing stays; what memories refer to is not asked for."""
    with database.engine.connect() as opened:
        if opened.dialect.name == "sqlite":
            opened.exec_driver_sql("PRAGMA foreign_keys=OFF")
            opened.exec_driver_sql("BEGIN")
        else:
            opened.exec_driver_sql("SET session_replication_role = replica")
        yield opened
        opened.rollback()


def remember(connection: Connection, content: str, user_id: str = "user", vector: Sequence[float] = ()) -> str:
    made = Memory(
        id=new_id(),
        org_id="org",
        user_id=user_id,
        conversation_id="conversation",
        content=content,
        context="",
        message_ids=[],
        cites_user=True,
        cites_event=False,
        replaced_by=None,
        created_at=clock.now(),
        corrected_at=None,
    )
    memories.insert_memory(connection, made, stems(content), Meaning("m", vector) if vector else None)
    return made.id


def by_words(connection: Connection, text: str, user_id: str = "user") -> list[str]:
    return memories.find_by_words(connection, user_id, stems(text))


def test_rare_words_count_more_than_common_ones_and_short_memories_more_than_long(connection: Connection) -> None:
    for number in range(20):
        remember(connection, f"They drink tea in room {number}.")
    long = remember(connection, "Their dog Rex runs in the park with other dogs whenever the weather is fine.")
    short = remember(connection, "Their dog is Rex.")

    assert by_words(connection, "Does Rex drink tea?")[:2] == [short, long]


def test_forms_of_a_word_meet_in_any_script(connection: Connection) -> None:
    allergy = remember(connection, "The user is allergic to penicillin.")
    tokyo = remember(connection, "東京に住んでいます。")
    moscow = remember(connection, "Живёт в Москве.")

    assert by_words(connection, "ALLERGIES?") == [allergy]
    assert by_words(connection, "東京の天気") == [tokyo]
    assert by_words(connection, "ЖИВЁТ") == [moscow]


def test_a_search_finds_nothing_of_other_users_and_nothing_that_does_not_hold(connection: Connection) -> None:
    theirs = remember(connection, "Lives in Berlin.", user_id="other", vector=[1.0, 0.0])
    old = remember(connection, "Lives in Berlin.", vector=[1.0, 0.0])
    new = remember(connection, "Lives in Rome.", vector=[0.0, 1.0])
    memories.replace_memory(connection, "user", old, new)

    assert by_words(connection, "Berlin") == []
    assert memories.find_by_meaning(connection, "user", Meaning("m", [1.0, 0.0])) == [new]
    assert by_words(connection, "Berlin", "other") == [theirs]


@pytest.mark.parametrize("text", ["", "the and of", "?!", "x" * 5000, "a b c " * 500, "%_'\"\\"])
def test_a_query_may_be_any_text(connection: Connection, text: str) -> None:
    remember(connection, "Lives in Berlin.")

    assert by_words(connection, text) == []


def vector(source: random.Random, near: Sequence[float] | None = None) -> list[float]:
    values = [source.gauss(0, 1) for _ in range(DIMENSIONS)]
    if near is not None:
        values = [0.4 * value + 8 * other for value, other in zip(values, near, strict=True)]
    length = sum(value * value for value in values) ** 0.5
    return [value / length for value in values]


def test_the_nearest_in_meaning_are_those_of_an_exact_comparison(connection: Connection) -> None:
    source = random.Random(7)
    wanted = vector(source)
    vectors = {
        remember(connection, f"Number {n}.", vector=made): made for n, made in ((n, vector(source)) for n in range(150))
    }
    near = [remember(connection, f"Near {n}.", vector=vector(source, wanted)) for n in range(5)]

    found = memories.find_by_meaning(connection, "user", Meaning("m", wanted))

    assert set(found[:5]) == set(near)
    nearness = [sum(a * b for a, b in zip(vectors[key], wanted, strict=True)) for key in found[5:]]
    assert len(nearness) == memories.FOUND - 5
    assert nearness == sorted(nearness, reverse=True)


@pytest.mark.parametrize("width", [1, 31, 32])
def test_signs_are_compared_as_one_by_one(width: int) -> None:
    source = random.Random(width)
    mine = source.randbytes(width)
    others = [mine, bytes(255 - byte for byte in mine), *(source.randbytes(width) for _ in range(200))]

    distances = memories._distances(b"".join(others), mine)

    exact = [(int.from_bytes(other) ^ int.from_bytes(mine)).bit_count() for other in others]
    first = [(other[0] ^ mine[0]) == 255 and width == 32 for other in others]
    assert list(distances) == [bits - capped for bits, capped in zip(exact, first, strict=True)]
    for most in (1, 64, 500):
        found = memories._smallest(distances, most)
        assert [distances[index] for index in found] == sorted(distances)[:most]
    assert memories._smallest(b"", 64) == []


def test_vectors_of_another_model_or_length_are_not_compared(connection: Connection) -> None:
    remember(connection, "Lives in Berlin.", vector=[1.0, 0.0])

    assert memories.find_by_meaning(connection, "user", Meaning("m", [1.0, 0.0, 0.0])) == []
    assert memories.find_by_meaning(connection, "user", Meaning("n", [1.0, 0.0])) == []


def test_a_search_by_words_reads_no_memory_and_takes_three_queries(connection: Connection) -> None:
    source = random.Random(7)
    words = [f"word{number}" for number in range(500)]
    rows = [" ".join(source.choices(words, k=9)) + " tea" for _ in range(200)]
    for content in rows:
        remember(connection, content)
    wanted = remember(connection, "Their dog is Rex.")
    seen: list[str] = []
    event.listen(connection, "before_cursor_execute", lambda *given: seen.append(given[2]))

    found = by_words(connection, "Does Rex drink tea? word7 word8 word9")

    assert wanted in found
    assert len(seen) == 3
    assert not any("memories.content" in statement for statement in seen)
