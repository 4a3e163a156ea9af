"""Calls of tools that turns made. A call is on record before it is made, and whatever became of its turn."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.ids import first_id_at
from tertulia.storage.database.paging import Page, Sort, Window, fetch_page, ordering
from tertulia.storage.database.rows import columns, list_rows
from tertulia.storage.database.shapes import among, padded
from tertulia.storage.tables import conversations, tool_invocations, users
from tertulia.storage.tool_version import Numbers

MOST_FOUND = 50
"""Calls that a search returns."""

MOST_SEARCHED = 10_000
"""Calls that a search looks at, the newest."""

PURGED_AT_ONCE = 200
"""Calls that one transaction purges; others wait for it."""

_PORTION = 100
"""Calls whose texts a search reads at once."""


@dataclass(frozen=True, slots=True)
class ToolInvocation:
    """A call of a version of a tool. `place` is where in its turn it was made, as the wire has it.

    `output` is empty if the call failed, and the exception's fields if it did not. `call_key` is the same for the same
    call of a turn that is tried again. A call that is not over is running, or its process died: see `begin_invocation`.
    """

    id: str
    org_id: str
    tool_id: str
    major: int
    minor: int
    patch: int
    succeeded: bool
    output: str
    exception_type: str
    exception_message: str
    exception_stack_trace: Sequence[str]
    duration_ms: int
    inputs: Mapping[str, Any]
    user_id: str
    service_id: str
    conversation_id: str | None
    interaction_id: str | None
    place: Mapping[str, Any]
    created_at: datetime
    call_key: str = ""
    is_over: bool = True


COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "org_id": tool_invocations.c.org_id,
    "conversation_id": tool_invocations.c.conversation_id,
    "conversation_user_id": tool_invocations.c.user_id,
    "service_id": tool_invocations.c.service_id,
    "conversations_visible_to_admins": users.c.conversations_visible_to_admins,
}
"""The attributes of the conversation of a call that a permission's conditions can name."""

SORTABLE: Mapping[str, ColumnElement[Any]] = {
    "created_at": tool_invocations.c.created_at,
    "version.major": tool_invocations.c.major,
    "version.minor": tool_invocations.c.minor,
    "version.patch": tool_invocations.c.patch,
    "tool_id": tool_invocations.c.tool_id,
    "invocation_source.type": tool_invocations.c.org_id,  # there is one type of source, so this sorts nothing
    "invocation_status.succeeded": tool_invocations.c.succeeded,
}
"""The fields of calls that a list can be sorted by."""

SEARCHABLE: Mapping[str, ColumnElement[Any]] = {
    "invocation_status.exception_message": tool_invocations.c.exception_message,
    "invocation_status.exception_type": tool_invocations.c.exception_type,
    "invocation_status.exception_stack_trace": tool_invocations.c.exception_stack_trace,
    "invocation_status.output": tool_invocations.c.output,
}
"""The fields of calls that a search reads."""


@dataclass(frozen=True, slots=True)
class ToolInvocationFilter:
    """A filter of calls; an empty field narrows nothing. `versions` has the numbers that count, by tool."""

    tool_id: Sequence[str] = ()
    versions: Mapping[str, Sequence[Numbers]] | None = None
    conversation_id: Sequence[str] = ()
    succeeded: bool | None = None
    nothing: bool = False
    """True if nothing fits: calls of simulations are wanted, of which there are none."""


_INVOCATION = sa.select(*columns(ToolInvocation, tool_invocations)).join(
    users, users.c.id == tool_invocations.c.user_id
)


def insert_invocation(connection: Connection, made: ToolInvocation) -> None:
    """Insert a call."""
    connection.execute(sa.insert(tool_invocations).values(asdict(made)))


def begin_invocation(connection: Connection, made: ToolInvocation) -> int:
    """Insert a call that is about to be made. Return the number of calls that had its key before.

    The row tells what it would be if the process died now; `end_invocation` tells the truth.
    """
    this = tool_invocations.c
    same = sa.select(sa.func.count()).where(this.call_key == made.call_key, this.org_id == made.org_id)
    earlier = connection.execute(same).scalar_one()
    insert_invocation(connection, made)
    return earlier


def end_invocation(connection: Connection, made: ToolInvocation) -> None:
    """Note the outcome of a call that has begun; one that is gone meanwhile, with its user, stays away."""
    this = tool_invocations.c.id == made.id
    connection.execute(sa.update(tool_invocations).where(this).values(asdict(made)))


def purge_invocations(connection: Connection, before: datetime) -> bool:
    """Remove a portion of the calls that were made before a moment. Return True if there may be more."""
    this = tool_invocations.c
    query = sa.select(this.id).where(this.id < first_id_at(before)).order_by(this.id).limit(PURGED_AT_ONCE)
    ids = connection.execute(query).scalars().all()
    if ids:
        connection.execute(sa.delete(tool_invocations).where(among(this.id, ids)))
    return len(ids) == PURGED_AT_ONCE


def list_invocations(
    connection: Connection,
    org_id: str,
    visible: ColumnElement[bool],
    narrow: ToolInvocationFilter,
    sort: Sort,
    window: Window,
) -> Page[ToolInvocation]:
    """Fetch a page of calls, the newest first unless sorted otherwise. Return those that are `visible`."""
    this = tool_invocations.c
    query = _INVOCATION.where(*_narrowed(org_id, narrow), visible)
    ordered = query.order_by(*ordering(sort, SORTABLE, this.created_at.desc(), this.id.desc()))
    return fetch_page(connection, ordered, window, ToolInvocation)


def walk_texts(
    connection: Connection,
    org_id: str,
    visible: ColumnElement[bool],
    narrow: ToolInvocationFilter,
    fields: Sequence[str],
) -> Iterator[tuple[str, str]]:
    """Walk over the calls that a search looks at, the newest first. Yield the id of each, and its text of `fields`."""
    this = tool_invocations.c
    query = (
        sa.select(this.id)
        .join(users, users.c.id == this.user_id)
        .where(*_narrowed(org_id, narrow), visible)
        .order_by(this.created_at.desc(), this.id.desc())
        .limit(MOST_SEARCHED)
    )
    ids = connection.execute(query).scalars().all()
    for start in range(0, len(ids), _PORTION):
        portion = ids[start : start + _PORTION]
        texts = sa.select(this.id, *(SEARCHABLE[field] for field in fields)).where(among(this.id, portion))
        found = {row[0]: "\n".join(map(_text, row[1:])) for row in connection.execute(texts)}
        yield from ((each, found[each]) for each in portion if each in found)


def _text(value: str | Sequence[str]) -> str:
    return value if isinstance(value, str) else "\n".join(value)


def list_found(
    connection: Connection, org_id: str, visible: ColumnElement[bool], ids: Sequence[str]
) -> Sequence[ToolInvocation]:
    """Fetch calls that a search has found. Return those that are still `visible`, in the same order."""
    this = tool_invocations.c
    query = _INVOCATION.where(this.org_id == org_id, visible, among(this.id, ids))
    found = {each.id: each for each in list_rows(connection, query, ToolInvocation)}
    return [found[each] for each in ids if each in found]


def _narrowed(org_id: str, narrow: ToolInvocationFilter) -> list[ColumnElement[bool]]:
    this = tool_invocations.c
    conditions: list[ColumnElement[bool]] = [this.org_id == org_id, _has_ended()]
    if narrow.nothing:
        conditions.append(sa.false())
    if narrow.tool_id:
        conditions.append(among(this.tool_id, narrow.tool_id))
    if narrow.versions is not None:
        chosen = [(tool_id, *numbers) for tool_id, each in narrow.versions.items() for numbers in each]
        conditions.append(sa.or_(sa.false(), *(_is(*one) for one in padded(chosen))))
    if narrow.conversation_id:
        conditions.append(among(this.conversation_id, narrow.conversation_id))
    if narrow.succeeded is not None:
        conditions.append(this.succeeded.is_(narrow.succeeded))
    return conditions


def _has_ended() -> ColumnElement[bool]:
    """Return the condition for calls that do not run any more: they are over, or the lease of their turn is."""
    this = tool_invocations.c
    running = sa.exists().where(
        conversations.c.id == this.conversation_id,
        conversations.c.lease_interaction_id == this.interaction_id,
        conversations.c.lease_expires_at > clock.now(),
    )
    return sa.or_(this.is_over, ~running)


def _is(tool_id: str, major: int, minor: int, patch: int) -> ColumnElement[bool]:
    this = tool_invocations.c
    return sa.and_(this.tool_id == tool_id, this.major == major, this.minor == minor, this.patch == patch)
