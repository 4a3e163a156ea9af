"""Memories of users, the search for them, and the models of users that are made of them.

A memory that another one has replaced is kept, but no search finds it. Each change of what is remembered of a user
counts up the user's `memory_revision`; a user of whom nothing was ever remembered has 0, and costs a turn nothing.
"""

import math
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from operator import mul
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement

from tertulia import clock
from tertulia.errors import NotFound
from tertulia.events import MessageType
from tertulia.ids import new_id
from tertulia.storage.database.paging import Page, Sort, Window, fetch_page, ordering
from tertulia.storage.database.prepared import PreparedSelect
from tertulia.storage.database.rows import columns, find_row, list_rows
from tertulia.storage.database.shapes import among
from tertulia.storage.tables import (
    conversations,
    memories,
    memory_vectors,
    memory_words,
    streams,
    traces,
    user_models,
    users,
)

SIGNATURE_BITS = 256
"""Numbers of a vector whose signs are compared with those of all memories of a user."""

RESCORED = 64
"""Memories whose vectors a search compares exactly, those with the nearest signatures."""

MOST_WORDS = 12
"""Words of a query that count, the rarest."""

MOST_ROWS = 2000
"""Memories that these words may have in all; a more common word does not count beside rarer ones."""

FOUND = 20
"""Memories that a search by words or by meaning gives, the best."""

_K1, _B = 1.2, 0.75
_USUAL_WORDS = 12  # of a memory
_SCALE = 1000


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory of a user. `message_ids` are the messages that it comes from."""

    id: str
    org_id: str
    user_id: str
    conversation_id: str
    content: str
    context: str
    message_ids: Sequence[str]
    cites_user: bool
    cites_event: bool
    replaced_by: str | None
    created_at: datetime
    corrected_at: datetime | None

    @property
    def cited_types(self) -> list[MessageType]:
        """The types of the messages that the memory comes from."""
        cited: list[tuple[bool, MessageType]] = [
            (self.cites_user, "user-message"),
            (self.cites_event, "external-event"),
        ]
        return [kind for is_cited, kind in cited if is_cited]


@dataclass(frozen=True, slots=True)
class UserModel:
    """A model of a user: what agents know of them in some dimensions, and the memories that say so."""

    content: str
    insight_ids: Sequence[str]
    dimensions: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Meaning:
    """The vector of a text, of length 1, and the model that made it."""

    model: str
    vector: Sequence[float]

    @property
    def label(self) -> str:
        """The model with the length of its vectors: vectors of the same label can be compared."""
        return f"{self.model}/{len(self.vector)}"

    @property
    def signature(self) -> str:
        """The signs of the first numbers, in hexadecimal; all of a label have the same length."""
        bits = "".join("1" if value > 0 else "0" for value in self.vector[:SIGNATURE_BITS])
        return f"{int(bits, 2):0{2 * -(-len(bits) // 8)}x}"


@dataclass(frozen=True, slots=True)
class MemoryFilter:
    """A filter of memories; an empty field narrows nothing. Replaced ones are found by their identifiers alone."""

    id: Sequence[str] = ()
    conversation_id: Sequence[str] = ()


# --- Writing ---------------------------------------------------------------------------------------------------------


def insert_memory(connection: Connection, made: Memory, words: Sequence[str], meaning: Meaning | None) -> None:
    """Insert a memory, to be found by its words and, if there is one, by its meaning."""
    connection.execute(sa.insert(memories), asdict(made))
    _put_search(connection, made, words, meaning)


def replace_memory(connection: Connection, user_id: str, memory_id: str, replaced_by: str) -> None:
    """Note that a memory of a user is contradicted by another one; no search finds it any more."""
    this = sa.and_(memories.c.id == memory_id, memories.c.user_id == user_id)
    connection.execute(sa.update(memories).where(this).values(replaced_by=replaced_by))
    _remove_search(connection, [memory_id])


def correct_memory(connection: Connection, corrected: Memory, words: Sequence[str], meaning: Meaning | None) -> None:
    """Write the content, the context and the time of correction of a memory."""
    values = {name: getattr(corrected, name) for name in ("content", "context", "corrected_at")}
    connection.execute(sa.update(memories).where(memories.c.id == corrected.id).values(values))
    if corrected.replaced_by is None:
        _remove_search(connection, [corrected.id])
        _put_search(connection, corrected, words, meaning)


def forget_memory(connection: Connection, user_id: str, memory_id: str) -> None:
    """Remove a memory of a user with those that it has replaced, and the models of the user that are made of them."""
    gone, found = [memory_id], [memory_id]
    while found:
        replaced = sa.select(memories.c.id).where(
            memories.c.user_id == user_id, among(memories.c.replaced_by, found), memories.c.id.not_in(gone)
        )
        found = list(connection.execute(replaced).scalars())
        gone += found
    _delete(connection, gone)
    for model_id, insight_ids in connection.execute(
        sa.select(user_models.c.id, user_models.c.insight_ids).where(user_models.c.user_id == user_id)
    ):
        if not set(gone).isdisjoint(insight_ids):
            connection.execute(sa.delete(user_models).where(user_models.c.id == model_id))


def _delete(connection: Connection, memory_ids: Sequence[str]) -> None:
    _remove_search(connection, memory_ids)
    connection.execute(sa.delete(memories).where(among(memories.c.id, memory_ids)))


def forget_user(connection: Connection, user_id: str) -> None:
    """Forget what is remembered of a user, with all that was made of it; what they said is not remembered again.

    The streams that could be replayed, traces with prompts and those of void turns go too, for they tell what was
    recalled.
    """
    forgotten = {"memory_revision": users.c.memory_revision + 1, "memory_forgotten_at": clock.now()}
    connection.execute(sa.update(users).where(users.c.id == user_id).values(forgotten))  # first: the order of locks
    for table in (memory_words, memory_vectors, memories, user_models):
        connection.execute(sa.delete(table).where(table.c.user_id == user_id))
    theirs = conversations.c.user_id == user_id
    talks = sa.select(conversations.c.id).where(theirs)
    connection.execute(sa.delete(streams).where(streams.c.conversation_id.in_(talks)))
    in_org = traces.c.org_id == sa.select(users.c.org_id).where(users.c.id == user_id).scalar_subquery()
    for quoting in (
        sa.and_(traces.c.conversation_id.in_(talks), traces.c.prompts > 0),
        sa.and_(traces.c.conversation_id == user_id, traces.c.prompts > 0),
        sa.and_(traces.c.user_id == user_id, traces.c.is_void.is_(True)),
    ):
        connection.execute(sa.delete(traces).where(in_org, quoting))
    connection.execute(sa.update(conversations).where(theirs).values(working_memory=None, performed_queries=None))


def lock_owner(connection: Connection, user_id: str) -> bool:
    """Keep others from changing what is remembered of a user until this transaction ends.

    Return False if the user is gone.
    """
    query = sa.select(users.c.id).where(users.c.id == user_id).with_for_update()
    return connection.execute(query).scalar_one_or_none() is not None


def count_change(connection: Connection, user_id: str) -> bool:
    """Have the next turns of a user read anew what is remembered of them. Return False if the user is gone.

    The user's row stays locked: of two changes of what is remembered of a user, one waits for the other.
    """
    revision = users.c.memory_revision + 1
    return bool(
        connection.execute(sa.update(users).where(users.c.id == user_id).values(memory_revision=revision)).rowcount
    )


def _put_search(connection: Connection, made: Memory, words: Sequence[str], meaning: Meaning | None) -> None:
    about = {"org_id": made.org_id, "user_id": made.user_id, "memory_id": made.id}
    counted = Counter(words)
    length = _K1 * (1 - _B + _B * len(words) / _USUAL_WORDS)
    rows = [
        {**about, "word": word, "weight": round(_SCALE * count * (_K1 + 1) / (count + length))}
        for word, count in counted.items()
    ]
    if rows:
        connection.execute(sa.insert(memory_words), rows)
    if meaning is not None:
        packed = struct.pack(f"<{len(meaning.vector)}e", *meaning.vector)
        row = {**about, "model": meaning.label, "signature": meaning.signature, "vector": packed}
        connection.execute(sa.insert(memory_vectors), row)


def _remove_search(connection: Connection, memory_ids: Sequence[str]) -> None:
    connection.execute(sa.delete(memory_words).where(among(memory_words.c.memory_id, memory_ids)))
    connection.execute(sa.delete(memory_vectors).where(among(memory_vectors.c.memory_id, memory_ids)))


# --- Reading ---------------------------------------------------------------------------------------------------------

_MEMORY = sa.select(*columns(Memory, memories))


def get_memory(connection: Connection, user_id: str, memory_id: str) -> Memory:
    """Fetch a memory of a user. Return its row, or raise NotFound."""
    found = find_row(connection, _MEMORY.where(memories.c.user_id == user_id, memories.c.id == memory_id), Memory)
    if found is None:
        raise NotFound(f"There is no memory {memory_id}.")
    return found


def list_by_id(connection: Connection, memory_ids: Sequence[str]) -> list[Memory]:
    """Fetch memories by their identifiers. Return those that there are, in the order of the identifiers."""
    if not memory_ids:
        return []
    rows = list_rows(connection, _MEMORY.where(among(memories.c.id, memory_ids)), Memory)
    by_id = {row.id: row for row in rows}
    return [by_id[memory_id] for memory_id in memory_ids if memory_id in by_id]


def list_newest(connection: Connection, user_id: str, most: int) -> Sequence[Memory]:
    """Fetch the newest memories of a user that hold. Return at most so many, the newest first."""
    query = _MEMORY.where(memories.c.user_id == user_id, memories.c.replaced_by.is_(None))
    return list_rows(connection, query.order_by(memories.c.created_at.desc(), memories.c.id.desc()).limit(most), Memory)


def list_contents(connection: Connection, user_id: str) -> set[str]:
    """Fetch the contents of the memories of a user that hold. Return each once."""
    query = sa.select(memories.c.content).where(memories.c.user_id == user_id, memories.c.replaced_by.is_(None))
    return set(connection.execute(query).scalars())


def list_memories(
    connection: Connection,
    user_id: str,
    visible_types: Mapping[MessageType, ColumnElement[bool]],
    narrow: MemoryFilter,
    sort: Sort,
    window: Window,
) -> Page[Memory]:
    """Fetch a page of a user's memories, newest first unless sorted otherwise.

    Return the memories of which the caller may see every message: `visible_types` has the conditions by the types of
    messages, which may name columns of the conversation and of its owner.
    """
    conditions = [sa.or_(sa.not_(column), visible_types[kind]) for kind, column in _CITED.items()]
    conditions.append(among(memories.c.id, narrow.id) if narrow.id else memories.c.replaced_by.is_(None))
    if narrow.conversation_id:
        conditions.append(among(memories.c.conversation_id, narrow.conversation_id))
    query = (
        _MEMORY.join(conversations, conversations.c.id == memories.c.conversation_id)
        .join(users, users.c.id == conversations.c.user_id)
        .where(memories.c.user_id == user_id, *conditions)
        .order_by(*ordering(sort, SORTABLE, memories.c.created_at.desc(), memories.c.id.desc()))
    )
    return fetch_page(connection, query, window, Memory)


SORTABLE: Mapping[str, ColumnElement[Any]] = {
    "conversation_id": memories.c.conversation_id,
    "created_at": memories.c.created_at,
}

_CITED: Mapping[MessageType, ColumnElement[bool]] = {
    "user-message": memories.c.cites_user,
    "external-event": memories.c.cites_event,
}
"""The columns of a memory that tell if it comes from messages of a type."""


# --- The search ------------------------------------------------------------------------------------------------------


def find_by_words(connection: Connection, user_id: str, words: Sequence[str]) -> list[str]:
    """Search a user's memories for words. Return the identifiers of the best, by BM25, the best first."""
    wanted = list(dict.fromkeys(words))[:64]
    if not wanted:
        return []
    theirs = sa.and_(memory_words.c.user_id == user_id, among(memory_words.c.word, wanted))
    counting = sa.select(memory_words.c.word, sa.func.count()).where(theirs).group_by(memory_words.c.word)
    counts = _rarest([(word, count) for word, count in connection.execute(counting)])
    if not counts:
        return []
    total = _count(connection, user_id)
    rarity = {word: round(_SCALE * math.log(1 + (total - count + 0.5) / (count + 0.5))) for word, count in counts}
    weighted = sa.case(*((memory_words.c.word == word, value) for word, value in rarity.items()), else_=0)
    score = sa.func.sum(memory_words.c.weight * weighted)
    query = (
        sa.select(memory_words.c.memory_id)
        .where(memory_words.c.user_id == user_id, among(memory_words.c.word, list(rarity)))
        .group_by(memory_words.c.memory_id)
        .order_by(score.desc(), memory_words.c.memory_id.desc())
        .limit(FOUND)
    )
    return list(connection.execute(query).scalars())


def _rarest(counts: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Choose the words that count of those that memories have. Return them with their counts, one at least."""
    chosen: list[tuple[str, int]] = []
    room = MOST_ROWS
    for word, count in sorted(counts, key=lambda row: (row[1], row[0]))[:MOST_WORDS]:
        room -= count
        if chosen and room < 0:
            break
        chosen.append((word, count))
    return chosen


def _count(connection: Connection, user_id: str) -> int:
    query = sa.select(sa.func.count()).where(memories.c.user_id == user_id, memories.c.replaced_by.is_(None))
    return connection.execute(query).scalar_one()


def find_by_meaning(connection: Connection, user_id: str, meaning: Meaning) -> list[str]:
    """Search a user's memories for a meaning. Return the identifiers of the nearest, the nearest first."""
    nearest = _nearest_signatures(connection, user_id, meaning)
    if not nearest:
        return []
    query = sa.select(memory_vectors.c.memory_id, memory_vectors.c.vector)
    rows = connection.execute(query.where(among(memory_vectors.c.memory_id, nearest))).all()
    form = struct.Struct(f"<{len(meaning.vector)}e")
    scores = {memory_id: sum(map(mul, form.unpack(vector), meaning.vector)) for memory_id, vector in rows}
    return sorted(scores, key=lambda memory_id: (-scores[memory_id], memory_id))[:FOUND]


def _nearest_signatures(connection: Connection, user_id: str, meaning: Meaning) -> list[str]:
    """Compare the signs of all memories of a user, which come as one text. Return the nearest."""
    ids, signatures = (sa.func.aggregate_strings(memory_vectors.c[name], "") for name in ("memory_id", "signature"))
    theirs = sa.and_(memory_vectors.c.user_id == user_id, memory_vectors.c.model == meaning.label)
    names, signs = connection.execute(sa.select(ids, signatures).where(theirs)).one()
    if not names:
        return []
    distances = _distances(bytes.fromhex(signs), bytes.fromhex(meaning.signature))
    nearest = _smallest(distances, RESCORED)
    return [names[_ID * index : _ID * (index + 1)] for index in nearest]


_ID = 24  # characters of an identifier
_BITS = bytes(byte.bit_count() for byte in range(256))
_MOST_DISTANT = 255


def _distances(signatures: bytes, mine: bytes) -> bytes:
    """Count the bits by which signatures differ from one. Return a byte for each.

    All are counted at once, in numbers of which each byte is a signature's: a step for each would take ten times as
    long. So that 256 bits fit into a byte, the first eight count as seven if all of them differ.
    """
    size, width = len(signatures), len(mine)
    different = (int.from_bytes(signatures) ^ int.from_bytes(mine * (size // width))).to_bytes(size)
    bits = different.translate(_BITS)
    first = bits[::width].translate(_CAPPED) if width * 8 > _MOST_DISTANT else bits[::width]
    total = int.from_bytes(first)
    for column in range(1, width):
        total += int.from_bytes(bits[column::width])
    return total.to_bytes(size // width)


_CAPPED = bytes(min(count, 7) for count in range(256))


def _smallest(distances: bytes, most: int) -> list[int]:
    """Choose the smallest distances. Return the indexes of so many of them, the smallest first."""
    within, found = 0, distances.count(0)
    while found < min(most, len(distances)):
        within += 1
        found += distances.count(within)
    near = [index for index, distance in enumerate(distances) if distance <= within]
    return sorted(near, key=distances.__getitem__)[:most]


# --- Models of users -------------------------------------------------------------------------------------------------

_MODELS = PreparedSelect(
    UserModel,
    sa.select(*columns(UserModel, user_models))
    .where(user_models.c.user_id == bindparam("user_id"))
    .order_by(user_models.c.created_at, user_models.c.id),
)


def put_user_models(connection: Connection, org_id: str, user_id: str, models: Sequence[UserModel]) -> None:
    """Replace the models of a user."""
    connection.execute(sa.delete(user_models).where(user_models.c.user_id == user_id))
    now = clock.now()
    for number, model in enumerate(models):
        about = {"id": new_id(), "org_id": org_id, "user_id": user_id, "created_at": now + number * clock.MICROSECOND}
        connection.execute(sa.insert(user_models), {**about, **asdict(model)})


def list_user_models(connection: Connection, user_id: str) -> list[UserModel]:
    """Fetch the models of a user, in the order of the dimensions. Return them."""
    return _MODELS.all(connection, {"user_id": user_id})
