"""The search for words in messages.

A message is found by terms: hashes of its words, each with the organization's identifier, so that the search of one
organization passes over nothing of another's. Terms are written after the turn, in portions and in the order of time: a
turn does not wait for them. They go with their message, whatever removes that.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.caching import cached_if_short
from tertulia.events import MessageType
from tertulia.ids import first_id_at, moment_of
from tertulia.storage.conversation import ConversationFilter, narrowed
from tertulia.storage.database.full_text import newest_with_terms
from tertulia.storage.database.paging import Page, Window, fetch_page
from tertulia.storage.database.rows import columns
from tertulia.storage.database.shapes import among
from tertulia.storage.tables import conversations, message_searches, messages, search_progress, users

PORTION = 200
"""Messages whose terms one transaction writes."""

PORTION_CHARS = 100_000
"""Characters after which a portion ends, with the message that has reached them: each character may be a term."""

MOST_MATCHES = 10_000
"""Messages with the words of a search that it looks at, the newest ones."""

LATE = timedelta(seconds=60)
"""The time after which a message that is made at once is in the database, clocks of other hosts included."""


@dataclass(frozen=True, slots=True)
class UnreadMessage:
    """A message that no search finds yet."""

    id: str
    org_id: str
    user_id: str
    content: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FoundMessage:
    """A message that a search has found."""

    id: str
    conversation_id: str
    interaction_id: str
    user_id: str
    service_id: str
    message_type: MessageType
    sender: str
    content: str
    created_at: datetime


Terms = tuple[str, str]
"""The terms by which one word is found."""

_TERM_BYTES = 5
"""Bytes of a hash in a term: of ten million messages with twenty words one search in 5,000 finds one too many."""


def terms(org_id: str, words: Iterable[str]) -> list[str]:
    """Make the terms of words in an organization. Return one for each different word."""
    return [_hash(f"{org_id}\0{word}")[0] for word in dict.fromkeys(words)]


def sought_terms(org_id: str, words: Iterable[str]) -> list[Terms]:
    """Make what to seek for words in an organization. Return each different word's term, and that of older rows."""
    return [_hash(f"{org_id}\0{word}") for word in dict.fromkeys(words)]


@cached_if_short(8192)
def _hash(text: str) -> Terms:
    """Hash a text. Return its term, and the one that older versions wrote: 64 bits, in hexadecimal."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return base64.b32encode(digest[:_TERM_BYTES]).decode().lower(), digest.hex()


def user_word(user_id: str) -> str:
    """Return the text that stands for a conversation's user among the words of its messages; no word is like it."""
    return f"\0{user_id}"


# --- Writing ---------------------------------------------------------------------------------------------------------

_READ_TO = sa.select(search_progress.c.read_to)
_IS_UNREAD = ~sa.exists().where(message_searches.c.message_id == messages.c.id)
_UNREAD = (
    sa.select(*columns(UnreadMessage, messages, user_id=conversations.c.user_id))
    .join(conversations, conversations.c.id == messages.c.conversation_id)
    .join(users, users.c.id == conversations.c.user_id)
    .where(messages.c.id > _READ_TO.scalar_subquery(), _IS_UNREAD)
    .order_by(messages.c.id)
)
_IS_ANY_NEW = sa.select(messages.c.id).where(messages.c.id > _READ_TO.scalar_subquery()).limit(1)
_SIZES: sa.Select[str, int] = _UNREAD.with_only_columns(messages.c.id, sa.func.length(messages.c.content))


def list_unread(connection: Connection) -> tuple[list[UnreadMessage], str]:
    """List messages that no search finds yet, a portion, those with the smallest identifiers first.

    Return them, and the identifier up to which none is left then: "" if it is the one up to which all were read before.
    """
    if connection.execute(_IS_ANY_NEW).first() is None:  # one statement, for a server at rest
        return [], ""
    safe = settled_until(connection)
    found = _list_portion(connection)
    until = min(found[-1].id, safe) if is_portion(found) else safe
    read_to = connection.execute(_READ_TO).scalar_one()
    between = sa.select(messages.c.id).where(messages.c.id > read_to, messages.c.id <= until).limit(1)
    return found, until if connection.execute(between).first() is not None else ""


def _list_portion(connection: Connection) -> list[UnreadMessage]:
    room, last = PORTION_CHARS, ""
    for message_id, length in connection.execute(_SIZES.limit(PORTION)):
        last, room = message_id, room - length
        if room <= 0:
            break
    return [UnreadMessage(*row) for row in connection.execute(_UNREAD.where(messages.c.id <= last))] if last else []


def is_portion(found: Sequence[UnreadMessage]) -> bool:
    """Return True if these messages fill a portion, so that there may be more."""
    return len(found) >= PORTION or sum(len(message.content) for message in found) >= PORTION_CHARS


def settled_until(connection: Connection) -> str:
    """Return the identifier before which no message can come any more: turns that run, or are on their way, can."""
    oldest = sa.select(sa.func.min(conversations.c.lease_interaction_id)).where(
        conversations.c.lease_expires_at.is_not(None)
    )
    running = connection.execute(oldest).scalar()
    latest = clock.now() if running is None else min(clock.now(), moment_of(running))
    return first_id_at(latest - LATE)


HOLD = timedelta(seconds=30)
"""The time after which another process goes on in place of one that has died."""


def hold(connection: Connection, holder: str) -> bool:
    """Have one process alone read messages for the search, for a while. Return False if another one does."""
    now = clock.now()
    free = sa.or_(search_progress.c.held_until <= now, search_progress.c.holder == holder)
    values = {"holder": holder, "held_until": now + HOLD}
    return bool(connection.execute(sa.update(search_progress).where(free).values(values)).rowcount)


def release(connection: Connection, holder: str) -> None:
    """Let any process read messages for the search."""
    mine = sa.update(search_progress).where(search_progress.c.holder == holder)
    connection.execute(mine.values(held_until=clock.now()))


_PUT = sa.insert(message_searches).from_select(
    ["org_id", "message_id", "terms"],
    sa.select(messages.c.org_id, messages.c.id, sa.bindparam("b_terms", type_=sa.Text)).where(
        messages.c.id == sa.bindparam("b_id"), _IS_UNREAD
    ),
)


def put_terms(connection: Connection, holder: str, made: Mapping[str, Sequence[str]], until: str) -> bool:
    """Write the terms of messages by their identifiers, in the order of time, and that all up to `until` are read.

    Return False, and do nothing, if another process reads messages by now.
    """
    if not hold(connection, holder):
        return False
    rows = [{"b_id": message_id, "b_terms": " ".join(some)} for message_id, some in made.items()]
    if rows:
        connection.execute(_PUT, rows)
    behind = sa.update(search_progress).where(search_progress.c.read_to < until)
    connection.execute(behind.values(read_to=until))
    return True


# --- Searching -------------------------------------------------------------------------------------------------------


def search_messages(
    connection: Connection,
    wanted: Sequence[Terms],
    visible: ColumnElement[bool],
    narrow: ConversationFilter,
    message_type: Sequence[MessageType],
    window: Window,
) -> Page[FoundMessage]:
    """Search the newest `MOST_MATCHES` messages that have one of each of these terms. Return a page, the newest first.

    `visible` may name columns of the message, its conversation and the conversation's owner.
    """
    query: sa.Select[Any] = (
        sa.select(*_FOUND)
        .select_from(message_searches)
        .join(messages, messages.c.id == message_searches.c.message_id)
        .join(conversations, conversations.c.id == messages.c.conversation_id)
        .join(users, users.c.id == conversations.c.user_id)
        .where(visible, among(messages.c.message_type, message_type), *narrowed(narrow))
    )
    table = message_searches.c
    found = newest_with_terms(connection, query, table.number, table.terms, wanted, MOST_MATCHES)
    return fetch_page(connection, found, window, FoundMessage)


_FOUND = columns(FoundMessage, messages, user_id=conversations.c.user_id, service_id=conversations.c.service_id)
