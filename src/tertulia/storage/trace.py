"""Traces of turns, read back; they are written with the turns. The form of a body is known to the engine.

Work on a conversation beside its turns has traces too, each with an id of its own in place of an interaction's; work
for a user beside all conversations has them under the user's id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.errors import NotFound
from tertulia.ids import first_id_at, new_id
from tertulia.storage.database.paging import Page, Window, fetch_page
from tertulia.storage.database.rows import columns, find_row, list_rows
from tertulia.storage.database.shapes import among
from tertulia.storage.tables import conversations, traces, users
from tertulia.storage.turn.packed import pack_trace, unpack_trace
from tertulia.storage.turn.values import NewTrace

KEPT = timedelta(days=30)
"""The time for which a trace is kept."""

MOST_VOID = 1000
"""Traces of void turns that are kept of a user, the newest: no conversation bounds their number."""

MOST_OF_WORK = 20
"""Traces of one work on one conversation that are kept, the newest: what fails is tried again, and users may repeat."""

PURGED_AT_ONCE = 200
"""Traces that one transaction purges; others wait for it."""


@dataclass(frozen=True, slots=True)
class StoredTrace:
    """The trace of a turn, which may be void, and whose conversation may be gone then; or of work beside turns."""

    org_id: str
    conversation_id: str
    interaction_id: str
    user_id: str
    service_id: str
    context_graph_id: str
    is_void: bool
    body: bytes
    created_at: datetime
    work: str | None
    conversations_visible_to_admins: bool

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes of the turn's conversation that a permission's conditions can name; `COLUMNS` has the same."""
        return {
            "org_id": self.org_id,
            "conversation_id": self.conversation_id,
            "conversation_user_id": self.user_id,
            "service_id": self.service_id,
            "conversations_visible_to_admins": self.conversations_visible_to_admins,
        }


@dataclass(frozen=True, slots=True)
class Worked:
    """The name of a piece of work beside turns, and the conversation that it was for; an empty id if there was none."""

    work: str
    org_id: str
    user_id: str
    conversation_id: str
    service_id: str
    context_graph_id: str

    @property
    def place(self) -> str:
        """The id that the traces of the work are listed under: the conversation's, or the user's if there is none."""
        return self.conversation_id or self.user_id


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """A trace as a list has it; `work` is None for a turn."""

    interaction_id: str
    work: str | None
    is_void: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LoggedTurn:
    """A turn of which prompts were kept, and their number."""

    conversation_id: str
    interaction_id: str
    prompts: int


COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "org_id": traces.c.org_id,
    "conversation_id": traces.c.conversation_id,
    "conversation_user_id": traces.c.user_id,
    "service_id": traces.c.service_id,
    "conversations_visible_to_admins": users.c.conversations_visible_to_admins,
}
"""The attributes of a turn's conversation that a permission's conditions can name."""

GRAPH_COLUMNS: Mapping[str, ColumnElement[Any]] = {
    "org_id": traces.c.org_id,
    "service_hierarchical_state_machine_id": traces.c.context_graph_id,
}
"""The attributes of a turn's context graph that a permission's conditions can name."""

_OF_USER = sa.and_(users.c.id == traces.c.user_id, users.c.org_id == traces.c.org_id)
_TRACE = sa.select(
    *columns(StoredTrace, traces, conversations_visible_to_admins=users.c.conversations_visible_to_admins)
).join(users, _OF_USER)


def get_trace(connection: Connection, org_id: str, conversation_id: str, interaction_id: str) -> StoredTrace:
    """Read the trace of a turn. Return it.

    Raises:
        NotFound: there is none, its time is over, or its user is gone.
    """
    query = _TRACE.where(
        traces.c.org_id == org_id,
        traces.c.conversation_id == conversation_id,
        traces.c.interaction_id == interaction_id,
        traces.c.created_at > clock.now() - KEPT,
    )
    trace = find_row(connection, query, StoredTrace)
    if trace is None:
        raise NotFound(f"There is no trace {interaction_id}.")
    return replace(trace, body=unpack_trace(trace.body, conversation_id, interaction_id))


def list_traces(
    connection: Connection, org_id: str, conversation_id: str, visible: ColumnElement[bool], window: Window
) -> Page[TraceEntry]:
    """List the `visible` traces of a conversation, of void turns and of work too. Return a page, the newest first."""
    query = (
        sa.select(*columns(TraceEntry, traces))
        .join(users, _OF_USER)
        .where(
            traces.c.org_id == org_id,
            traces.c.conversation_id == conversation_id,
            traces.c.created_at > clock.now() - KEPT,
            visible,
        )
        .order_by(traces.c.interaction_id.desc())
    )
    return fetch_page(connection, query, window, TraceEntry)


def insert_trace_of_work(
    connection: Connection, worked: Worked, trace: NewTrace, began: datetime, *, is_void: bool
) -> None:
    """Keep the trace of work that began at a time; older ones of the same work in the same place make room.

    It is not kept if the user or the conversation is gone, or if all that is remembered of the user was forgotten since
    the work began: its prompts tell it.
    """
    # An erasure of the user waits for this, or this finds nobody.
    user = sa.select(users.c.memory_forgotten_at).where(users.c.id == worked.user_id).with_for_update()
    conversation = sa.select(conversations.c.id).where(conversations.c.id == worked.conversation_id)
    owner = connection.execute(user).first()
    if owner is None or (worked.conversation_id and connection.execute(conversation).first() is None):
        return
    if owner.memory_forgotten_at is not None and owner.memory_forgotten_at >= began:
        return
    trace_id = new_id()
    row = {**asdict(worked), "conversation_id": worked.place, "interaction_id": trace_id, "created_at": clock.now()}
    body = pack_trace(trace.body, worked.place, trace_id)
    connection.execute(sa.insert(traces), {**row, "is_void": is_void, "prompts": trace.prompts, "body": body})
    same = sa.select(traces.c.interaction_id).where(
        traces.c.org_id == worked.org_id,
        traces.c.conversation_id == worked.place,
        traces.c.work == worked.work,
    )
    older = same.order_by(traces.c.interaction_id.desc()).offset(MOST_OF_WORK)
    _remove(connection, older)


def list_logged_turns(
    connection: Connection, org_id: str, visible: ColumnElement[bool], conversation: str, interaction: str, most: int
) -> Sequence[LoggedTurn]:
    """List turns of which prompts were kept, by the beginnings of two ids in hexadecimal digits.

    Return at most so many, of those that are `visible` and of the conversation that is named by its whole id.
    """
    query = (
        sa.select(*columns(LoggedTurn, traces))
        .join(users, _OF_USER)
        .where(
            traces.c.org_id == org_id,
            traces.c.prompts > 0,
            sa.or_(visible, traces.c.conversation_id == conversation),
            traces.c.created_at > clock.now() - KEPT,
            *_begins(traces.c.conversation_id, conversation),
            *_begins(traces.c.interaction_id, interaction),
        )
        .order_by(traces.c.conversation_id, traces.c.interaction_id)
        .limit(most)
    )
    return list_rows(connection, query, LoggedTurn)


def _begins(column: sa.ColumnElement[str], prefix: str) -> list[sa.ColumnElement[bool]]:
    """Write conditions for ids that begin with hexadecimal digits; the letter after those is above all of them."""
    return [column >= prefix, column < f"{prefix}g"] if prefix else []


def purge_traces(connection: Connection) -> bool:
    """Remove a portion of the traces that are past their time, or too many. Return True if there may be more."""
    past = sa.select(traces.c.interaction_id).where(traces.c.interaction_id < first_id_at(clock.now() - KEPT))
    return _remove(connection, past) or _remove(connection, _too_many(connection))


def _too_many(connection: Connection) -> sa.Select[tuple[str]]:
    """Find a user with too many traces of void turns. Return the query of the oldest; of none if there is nobody."""
    void = traces.c.is_void.is_(True)
    crowd = (
        sa.select(traces.c.org_id, traces.c.user_id)
        .where(void)
        .group_by(traces.c.org_id, traces.c.user_id)
        .having(sa.func.count() > MOST_VOID)
        .limit(1)
    )
    found = connection.execute(crowd).first()
    query = sa.select(traces.c.interaction_id)
    if found is None:
        return query.where(sa.false())
    theirs = query.where(void, traces.c.org_id == found.org_id, traces.c.user_id == found.user_id)
    return theirs.order_by(traces.c.interaction_id.desc()).offset(MOST_VOID)


def _remove(connection: Connection, query: sa.Select[tuple[str]]) -> bool:
    ids = connection.execute(query.limit(PURGED_AT_ONCE)).scalars().all()
    if ids:
        connection.execute(sa.delete(traces).where(among(traces.c.interaction_id, ids)))
    return len(ids) == PURGED_AT_ONCE
