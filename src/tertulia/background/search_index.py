"""The reading of messages for the search for words: after their turns, a portion at a time."""

import asyncio
import time
from collections.abc import Iterator, Sequence

from tertulia.ids import new_id
from tertulia.storage.database.units import Database
from tertulia.storage.message_search import (
    UnreadMessage,
    hold,
    is_portion,
    list_unread,
    put_terms,
    release,
    terms,
    user_word,
)
from tertulia.vocabulary import searched_words

LOOK_S = 1.0
"""The time between two looks for messages, in seconds: so late are they found at the latest, but for heavy load."""

LIMIT_S = 3600.0
"""The longest time of a step, in seconds: the first one after an upgrade reads all messages there are."""

SHARE = 0.05
"""The share of its time that a process reads messages: turns go first, and under load messages are found later."""


async def read_messages(database: Database) -> None:
    """Write the terms of all messages of a cluster that no search finds yet, unless another process is at it."""
    found, until = await database.read(list_unread)
    holder = new_id()
    if not (found or until) or not await database.write(hold, holder):
        return
    while found or until:
        began = time.monotonic()
        made = await asyncio.to_thread(_terms, found)
        if not await database.write(put_terms, holder, made, until):
            return
        if not is_portion(found):
            break
        await asyncio.sleep((time.monotonic() - began) * (1 / SHARE - 1))
        found, until = await database.read(list_unread)
    await database.write(release, holder)


def _terms(found: Sequence[UnreadMessage]) -> dict[str, list[str]]:
    """Make the terms of messages. Return them by the messages' identifiers, in the order of their time."""
    in_order = sorted(found, key=lambda message: message.created_at)
    return {message.id: terms(message.org_id, _words(message)) for message in in_order}


def _words(message: UnreadMessage) -> Iterator[str]:
    yield user_word(message.user_id)
    yield from searched_words(message.content)
