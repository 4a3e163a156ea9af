"""The search for words in messages: an extension of the contract."""

import asyncio
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query
from pydantic import BaseModel, StringConstraints

from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization
from tertulia.api.http.pagination import PageModel, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.tag_filter import parse_tag_filters
from tertulia.api.http.types import ObjectId
from tertulia.auth.permissions import Permission
from tertulia.errors import Unprocessable
from tertulia.events import MessageType
from tertulia.storage import message as messages
from tertulia.storage.conversation import VERSION_SET_COLUMNS, ConversationFilter
from tertulia.storage.database.paging import Window
from tertulia.storage.message_search import FoundMessage, search_messages, sought_terms, user_word
from tertulia.vocabulary import placed_words

router = contract_router("/conversation", "Conversation")

MOST_WORDS = 16
"""Words of a query that count, the first."""

SNIPPET, BEFORE = 240, 80
"""Characters of a snippet, and those of them before the first word that was found."""

Phrase = Annotated[str, StringConstraints(min_length=1, max_length=20_000)]


class FoundMessageInstance(BaseModel):
    """A message in which all words of the query stand."""

    conversation_id: str
    interaction_id: str
    message_id: str
    user_id: str
    """The user of the conversation."""
    service_id: str
    message_type: MessageType
    sender: str
    created_at: datetime
    snippet: str
    """A part of the message around the first word that was found."""
    matches: list[tuple[int, int]]
    """The found words in the snippet: the first character of each, and the one after its last, in code points."""


class FoundMessages(PageModel):
    messages: list[FoundMessageInstance]


@router.get(
    "/search",
    operation_id="search-conversations",
    summary="Search conversations",
    dependencies=[Depends(rate_limit(50))],
)
async def search_conversations(
    runtime: CurrentRuntime,
    actor: CurrentActor,
    organization: Organization,
    query: Annotated[Phrase, Query(description="Words, all of which a message must have.")],
    part: Annotated[Window, Depends(window(default=20, most=50))],
    conversation_id: Annotated[list[ObjectId], Query()] = [],
    user_id: Annotated[list[str], Query()] = [],
    service_id: Annotated[list[ObjectId], Query()] = [],
    is_finished: Annotated[bool | None, Query()] = None,
    tag: Annotated[list[str], Query()] = [],
    message_type: Annotated[list[MessageType], Query()] = ["agent-message", "external-event", "user-message"],
    is_test: Annotated[bool | None, Query(description="Tests alone, or none of them.")] = None,
    version_set_name: Annotated[list[str], Query(description="The version sets that conversations began with.")] = [],
) -> FoundMessages:
    """Search the messages that the caller may see for words. Return a page of messages, the newest first."""
    words = list(dict.fromkeys(word for word, _, _ in placed_words(query)))[:MOST_WORDS]
    if not words:
        raise Unprocessable("This must have a word.", ("query", "query"))
    visible = actor.visible(Permission.CONVERSATION_GET_MESSAGE, messages.COLUMNS)
    narrow = ConversationFilter(
        conversation_id, user_id, service_id, is_finished, parse_tag_filters(tag, "tag"), is_test, version_set_name
    )
    if version_set_name:  # else the filter would tell the set of conversations whose list hides it
        visible &= actor.visible(Permission.SERVICE_GET_VERSION_SET, VERSION_SET_COLUMNS)
    own = actor.sees_own_only(Permission.CONVERSATION_GET_MESSAGE, "conversation_user_id")
    users = {actor.user_id} if own else set(user_id)
    wanted = sought_terms(actor.org_id, [*words, *(map(user_word, users) if len(users) == 1 else ())])
    async with runtime.searches.place((actor.org_id, actor.user_id)):
        page = await organization.database.read(search_messages, wanted, visible, narrow, message_type, part)
        # If a word stands at the end of long messages, marking a page takes a second: too long for the event loop.
        shown = await asyncio.to_thread(lambda: [_instance(found, frozenset(words)) for found in page.items])
    return FoundMessages.of(page, messages=shown)


def _instance(found: FoundMessage, words: frozenset[str]) -> FoundMessageInstance:
    snippet, matches = mark(found.content, words)
    return FoundMessageInstance(
        conversation_id=found.conversation_id,
        interaction_id=found.interaction_id,
        message_id=found.id,
        user_id=found.user_id,
        service_id=found.service_id,
        message_type=found.message_type,
        sender=found.sender,
        created_at=found.created_at,
        snippet=snippet,
        matches=matches,
    )


def mark(text: str, words: frozenset[str]) -> tuple[str, list[tuple[int, int]]]:
    """Cut a part out of a text around the first of some words. Return it, and the places of the words in it."""
    start, found = 0, list[tuple[int, int]]()
    for word, first, end in placed_words(text, words):
        if found and first >= start + SNIPPET:
            break
        if word in words:
            if not found:
                start = _begin(text, first)
            if found and first <= found[-1][1]:
                found[-1] = found[-1][0], max(end, found[-1][1])
            else:
                found.append((first, end))
    stop = min(len(text), start + SNIPPET)
    head, tail = "… " if start else "", " …" if stop < len(text) else ""
    shift = len(head) - start
    matches = [(first + shift, min(end, stop) + shift) for first, end in found if first < stop]
    return head + text[start:stop] + tail, matches


def _begin(text: str, first: int) -> int:
    """Choose the beginning of a snippet, at the beginning of a word. Return its place."""
    start = max(0, first - BEFORE)
    space = text.find(" ", start, first)
    return start if start == 0 or space < 0 else space + 1
