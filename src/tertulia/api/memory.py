"""Memories of users: list them, correct one, forget one, forget all with everything that was made of them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Query
from pydantic import BaseModel, StringConstraints
from sqlalchemy import ColumnElement
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.api.http.deps import CurrentActor, CurrentRuntime, Organization
from tertulia.api.http.pagination import PageModel, sorting, window
from tertulia.api.http.rate_limit import rate_limit
from tertulia.api.http.routing import contract_router
from tertulia.api.http.types import ObjectId
from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.events import MessageType
from tertulia.storage import memory as memories
from tertulia.storage import message as messages
from tertulia.storage import user as users
from tertulia.storage.conversation import get_conversation
from tertulia.storage.database.paging import Page, Sort, Window
from tertulia.storage.memory import Meaning, Memory, MemoryFilter
from tertulia.storage.post_processing import enqueue_models
from tertulia.vocabulary import stems

router = contract_router("/user", "User")

# --- List ------------------------------------------------------------------------------------------------------------


class MemoryInstance(BaseModel):
    """A memory of a user. A replaced one is shown only if it is asked for by its identifier."""

    id: str
    created_at: datetime
    conversation_id: str
    references: list[str]
    content: str
    context: str
    replaced_by: str | None = None
    """An extension: the memory that contradicts this one."""
    corrected_at: datetime | None = None
    """An extension: when somebody wrote the content anew."""


class MemoryPage(PageModel):
    memories: list[MemoryInstance]


@router.get(
    "/{user_id}/memory", operation_id="get-memories", summary="Get memories", dependencies=[Depends(rate_limit(40))]
)
async def get_memories(
    organization: Organization,
    actor: CurrentActor,
    user_id: str,
    part: Annotated[Window, Depends(window(default=50, most=50, least=0))],
    sort_by: Annotated[Sort, Depends(sorting(*memories.SORTABLE))],
    id: Annotated[set[ObjectId], Query()] = set(),
    conversation_id: Annotated[set[ObjectId], Query()] = set(),
) -> MemoryPage:
    """List what is remembered of a user. Return the memories of which the caller may see every message."""
    narrow = MemoryFilter(sorted(id), sorted(conversation_id))
    page = await organization.database.read(_list, actor, user_id, narrow, sort_by, part)
    return MemoryPage.of(page, memories=[_instance(memory) for memory in page.items])


def _list(
    connection: Connection, actor: Actor, user_id: str, narrow: MemoryFilter, sort: Sort, part: Window
) -> Page[Memory]:
    user = users.get_user(connection, actor.org_id, user_id)
    by_type: dict[MessageType, ColumnElement[bool]] = {
        kind: actor.visible(Permission.CONVERSATION_GET_MESSAGE, messages.columns_of(kind))
        for kind in messages.MESSAGE_TYPES
    }
    return memories.list_memories(connection, user.id, by_type, narrow, sort, part)


def _instance(memory: Memory) -> MemoryInstance:
    return MemoryInstance(
        id=memory.id,
        created_at=memory.created_at,
        conversation_id=memory.conversation_id,
        references=list(memory.message_ids),
        content=memory.content,
        context=memory.context,
        replaced_by=memory.replaced_by,
        corrected_at=memory.corrected_at,
    )


# --- Correct ---------------------------------------------------------------------------------------------------------

MemoryText = Annotated[str, StringConstraints(strip_whitespace=True, max_length=1000)]


class Correction(BaseModel):
    """The content of a memory as it should be. Without a context, that of the memory is left out."""

    content: Annotated[MemoryText, StringConstraints(min_length=1)]
    context: MemoryText = ""


@router.post(
    "/{user_id}/memory/{memory_id}",
    operation_id="correct-memory",
    summary="Correct a memory",
    status_code=204,
    dependencies=[Depends(rate_limit(50))],
)
async def correct_memory(
    runtime: CurrentRuntime,
    organization: Organization,
    actor: CurrentActor,
    user_id: str,
    memory_id: ObjectId,
    body: Correction,
) -> None:
    """Write a memory anew. What was made of it is made again."""
    found = await organization.database.read(_get, actor, user_id, memory_id)
    meanings = await runtime.meanings.of([body.content])
    await organization.database.write(_correct, actor, user_id, found.id, body, meanings)


def _correct(
    connection: Connection,
    actor: Actor,
    user_id: str,
    memory_id: str,
    body: Correction,
    meanings: Sequence[Meaning | None],
) -> None:
    memories.lock_owner(connection, user_id)
    memory = _get(connection, actor, user_id, memory_id)
    corrected = replace(memory, content=body.content, context=body.context, corrected_at=clock.now())
    memories.correct_memory(connection, corrected, stems(f"{body.content} {body.context}"), meanings[0])
    memories.count_change(connection, user_id)
    enqueue_models(connection, actor.org_id, memory.conversation_id)


def _get(connection: Connection, actor: Actor, user_id: str, memory_id: str) -> Memory:
    """Fetch a memory that the caller may correct. Return its row."""
    user = users.get_user(connection, actor.org_id, user_id)
    actor.require(Permission.USER_UPDATE_USER_INFO, user.attributes)
    memory = memories.get_memory(connection, user.id, memory_id)
    said_in = get_conversation(connection, actor.org_id, memory.conversation_id)
    for kind in memory.cited_types:
        actor.require(Permission.CONVERSATION_GET_MESSAGE, messages.attributes(said_in, kind))
    return memory


# --- Forget ----------------------------------------------------------------------------------------------------------


@router.delete(
    "/{user_id}/memory/{memory_id}",
    operation_id="forget-memory",
    summary="Forget a memory",
    status_code=204,
    dependencies=[Depends(rate_limit(50))],
)
async def forget_memory(organization: Organization, actor: CurrentActor, user_id: str, memory_id: ObjectId) -> None:
    """Forget a memory, those that it has replaced, and what was made of them."""
    await organization.database.write(_forget, actor, user_id, memory_id)


def _forget(connection: Connection, actor: Actor, user_id: str, memory_id: str) -> None:
    user = users.lock_user(connection, actor.org_id, user_id)
    actor.require(Permission.USER_UPDATE_USER_INFO, user.attributes)
    memory = memories.get_memory(connection, user.id, memory_id)
    memories.forget_memory(connection, user.id, memory.id)
    memories.count_change(connection, user.id)
    enqueue_models(connection, actor.org_id, memory.conversation_id)


@router.delete(
    "/{user_id}/memory",
    operation_id="forget-memories",
    summary="Forget all memories of a user",
    status_code=204,
    dependencies=[Depends(rate_limit(50))],
)
async def forget_memories(organization: Organization, actor: CurrentActor, user_id: str) -> None:
    """Forget all that is remembered of a user, and what was made of it. What they said until now stays forgotten."""
    await organization.database.write(_forget_all, actor, user_id)


def _forget_all(connection: Connection, actor: Actor, user_id: str) -> None:
    user = users.lock_user(connection, actor.org_id, user_id)
    actor.require(Permission.USER_UPDATE_USER_INFO, user.attributes)
    memories.forget_user(connection, user.id)
