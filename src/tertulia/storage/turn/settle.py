"""The end of a turn: all that it made is committed as one, or nothing of it remains."""

from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.errors import Conflict
from tertulia.events import VersionInfo
from tertulia.ids import new_id
from tertulia.storage import post_processing
from tertulia.storage.database.prepared import Prepared, insert
from tertulia.storage.insights import pack_insights
from tertulia.storage.result import begin_result
from tertulia.storage.tables import (
    behavior_invocations,
    conversations,
    interactions,
    messages,
    recordings,
    streams,
    traces,
    users,
)
from tertulia.storage.turn.idempotency import free_keys
from tertulia.storage.turn.lease import FREE
from tertulia.storage.turn.packed import pack_trace
from tertulia.storage.turn.parts import insert_parts
from tertulia.storage.turn.stream import pack_stream
from tertulia.storage.turn.values import Claim, Invocation, Message, NewTrace, PackedStream, Recording, Settlement
from tertulia.storage.usage import add_to_organization

MOVE_ON = (
    sa.update(conversations)
    .where(conversations.c.id == bindparam("b_id"), conversations.c.lease_token == bindparam("b_token"))
    .values(
        position=bindparam("b_position"),
        behavior=bindparam("b_behavior"),
        working_memory=bindparam("b_working_memory"),
        performed_queries=bindparam("b_performed_queries"),
        tool_results=bindparam("b_tool_results"),
        pending_calls=bindparam("b_pending_calls"),
        num_interactions=conversations.c.num_interactions + 1,
        num_messages=conversations.c.num_messages + bindparam("b_messages"),
        last_interaction_id=bindparam("b_interaction_id"),
        last_message_time=bindparam("b_last_message_time"),
        is_finished=bindparam("b_finished"),
        finished_at=bindparam("b_finished_at"),
        **FREE,
    )
)
"""The end of a turn in its conversation, if the lease is the turn's still; `changes` are its parameters."""

COUNT = (
    sa.update(users)
    .where(users.c.id == bindparam("b_user_id"))
    .values(
        num_conversations=users.c.num_conversations + bindparam("b_conversations"),
        num_messages=users.c.num_messages + bindparam("b_said"),
        stored_bytes=users.c.stored_bytes + bindparam("b_bytes"),
        last_message_time=bindparam("b_last_message_time"),
    )
)
"""The messages of a turn in the counts of its user; `counts` are its parameters."""

STILL_REMEMBERED = users.c.memory_forgotten_at.is_not_distinct_from(
    bindparam("b_forgotten_at", type_=users.c.memory_forgotten_at.type)
)
"""True of a user who was not forgotten since the turn was claimed; see `counts`."""

_SETTLE = Prepared(MOVE_ON)
_COUNT = Prepared(COUNT.where(STILL_REMEMBERED))
_COUNT_FORGOTTEN = Prepared(COUNT)
_USER = Prepared(
    sa.select(users.c.id)
    .where(users.c.id == bindparam("b_user_id"), STILL_REMEMBERED)
    .with_for_update(
        key_share=True
    )  # a transaction that forgets the user comes before this one, and is seen, or after it
)


def settle(connection: Connection, claim: Claim, made: Settlement) -> None:
    """Commit a turn, with its messages, its interaction and the conversation's new position, and give the lease back.

    If all that is remembered of the user was forgotten since the turn was claimed, nothing that may quote it is kept.

    Raises:
        Conflict: the lease went to somebody else, or the user is gone, so nothing is stored.
    """
    counted = counts(claim, made)
    forgotten = not _COUNT.run(connection, counted)  # the user first: see the order of locks in __init__
    if forgotten:
        if not _COUNT_FORGOTTEN.run(connection, counted):
            raise Conflict("The user has been deleted.")
        made = _forget(connection, claim, made)
    if not _SETTLE.run(connection, changes(claim, made)):
        raise Conflict("The turn took too long, and another has the conversation now.")
    _INSERT_INTERACTION.run(connection, interaction_row(claim, made))
    _INSERT_MESSAGE.run_many(connection, [message_row(claim, message) for message in made.messages])
    for recording in made.recordings:
        _INSERT_RECORDING.run(connection, _recording_row(claim, made, recording))
        insert_parts(connection, claim.org_id, recording.message_id, recording.body)
    if made.invocation is not None:
        _INSERT_INVOCATION.run(connection, _invocation_row(claim, made.invocation))
    if made.finished:
        begin_result(connection, claim.org_id, claim.conversation_id, claim.service_id)
    if not forgotten:
        _INSERT_STREAM.run(connection, stream_row(claim, made))
    if made.finished:
        post_processing.begin(connection, claim.org_id, claim.conversation_id)
    if made.trace is not None:
        _INSERT_TRACE.run(connection, trace_row(claim, made.trace, made.insights["current_graph"], is_void=False))
    add_to_organization(connection, claim.org_id, claim.user_id, counted["b_bytes"])


def _forget(connection: Connection, claim: Claim, made: Settlement) -> Settlement:
    """Leave out of a turn what may quote memories, but for its stream. Return the rest.

    The reply may quote them too. The time of forgetting is moved to the reply, so nothing of the turn is remembered.
    """
    last = made.messages[-1].created_at
    earlier = sa.and_(users.c.id == claim.user_id, users.c.memory_forgotten_at < last)
    connection.execute(sa.update(users).where(earlier).values(memory_forgotten_at=last))
    trace = None if made.trace is None or made.trace.prompts else made.trace
    return replace(made, working_memory=(), performed_queries=(), trace=trace)


_INSERT_STREAM = insert(streams)
_INSERT_INTERACTION = insert(interactions)
_INSERT_MESSAGE = insert(messages)
_INSERT_RECORDING = insert(recordings)
_INSERT_INVOCATION = insert(behavior_invocations)
_INSERT_TRACE = insert(traces)


def counts(claim: Claim, made: Settlement) -> dict[str, Any]:
    """Count what a turn adds to its user. Return the parameters of `COUNT`."""
    return {
        "b_user_id": claim.user_id,
        "b_conversations": int(claim.num_interactions == 0),
        "b_said": sum(message.message_type in ("user-message", "agent-message") for message in made.messages),
        "b_bytes": sum(len(message.content.encode()) for message in made.messages)
        + sum(len(recording.body) for recording in made.recordings),
        "b_last_message_time": made.messages[-1].created_at,
        "b_forgotten_at": claim.profile.memory_forgotten_at,
    }


def changes(claim: Claim, made: Settlement) -> dict[str, Any]:
    """Return the parameters of `MOVE_ON`."""
    last = made.messages[-1].created_at
    return {
        "b_id": claim.conversation_id,
        "b_token": claim.lease_token,
        "b_position": made.position,
        "b_behavior": made.behavior,
        "b_working_memory": list(made.working_memory) or None,
        "b_performed_queries": list(made.performed_queries) or None,
        "b_tool_results": list(made.tool_results) or None,
        "b_pending_calls": list(made.pending_calls) or None,
        "b_messages": sum(message.message_type != "agent-inner-thought" for message in made.messages),
        "b_interaction_id": claim.interaction_id,
        "b_last_message_time": last,
        "b_finished": made.finished,
        "b_finished_at": last if made.finished else None,
    }


def interaction_row(claim: Claim, made: Settlement) -> dict[str, Any]:
    """Return the row of a turn's interaction."""
    return {
        "id": claim.interaction_id,
        "org_id": claim.org_id,
        "conversation_id": claim.conversation_id,
        "number": claim.num_interactions + 1,
        "insights": pack_insights(made.insights),
        "created_at": made.created_at,
    }


def stream_row(claim: Claim, made: Settlement) -> dict[str, Any]:
    """Return the row of a turn's stream, packed."""
    packed = (
        made.stream
        if isinstance(made.stream, PackedStream)
        else pack_stream(made.stream, claim.interaction_id, made.messages)
    )
    return {
        "org_id": claim.org_id,
        "interaction_id": claim.interaction_id,
        "conversation_id": claim.conversation_id,
        "body": packed.body,
        "sound": packed.sound,
        "expires_at": made.stream_expires_at,
    }


def message_row(claim: Claim, message: Message) -> dict[str, Any]:
    """Return the row of a message."""
    return {
        "id": message.id,
        "org_id": claim.org_id,
        "conversation_id": claim.conversation_id,
        "interaction_id": claim.interaction_id,
        "message_type": message.message_type,
        "format": message.format,
        "sender": message.sender,
        "content": message.content,
        "created_at": message.created_at,
    }


def _recording_row(claim: Claim, made: Settlement, recording: Recording) -> dict[str, Any]:
    return {
        "org_id": claim.org_id,
        "message_id": recording.message_id,
        "conversation_id": claim.conversation_id,
        "content_type": recording.content_type,
        "size": len(recording.body),
        "body": b"",
        "created_at": made.created_at,
    }


def _invocation_row(claim: Claim, made: Invocation) -> dict[str, Any]:
    set_id, version = made.behavior
    return {
        "id": new_id(),
        "org_id": claim.org_id,
        "set_id": set_id,
        "version": version,
        "conversation_id": claim.conversation_id,
        "interaction_id": claim.interaction_id,
        "service_id": claim.service_id,
        "user_id": claim.user_id,
        "initial_message_id": made.initial_message_id,
        "agent_message_id": made.agent_message_id,
        "inner_thought_ids": list(made.inner_thought_ids) or None,
        "external_event_ids": list(made.external_event_ids) or None,
        "invoked_at": made.invoked_at,
    }


def trace_row(claim: Claim, trace: NewTrace, graph: VersionInfo, *, is_void: bool) -> dict[str, Any]:
    """Return the row of a turn's trace."""
    return {
        "org_id": claim.org_id,
        "conversation_id": claim.conversation_id,
        "interaction_id": claim.interaction_id,
        "user_id": claim.user_id,
        "service_id": claim.service_id,
        "context_graph_id": graph[0],
        "is_void": is_void,
        "prompts": trace.prompts,
        "body": pack_trace(trace.body, claim.conversation_id, claim.interaction_id),
        "created_at": clock.now(),
        "work": None,
    }


def abandon(connection: Connection, claim: Claim, trace: NewTrace | None = None) -> bool:
    """Leave nothing of a turn: remove a conversation that was never settled, else give its lease back. Safe twice.

    Its trace alone is kept, if there is one and the user was not forgotten since the turn was claimed. Return True if
    there was nothing to abandon: the turn is settled, and only the answer to that was lost.
    """
    known = {"b_user_id": claim.user_id, "b_forgotten_at": claim.profile.memory_forgotten_at}
    if trace is not None and _USER.first(connection, known) is None:  # the user first: see the order of locks
        trace = None
    mine = sa.and_(conversations.c.id == claim.conversation_id, conversations.c.lease_token == claim.lease_token)
    running = sa.and_(mine, conversations.c.lease_interaction_id == claim.interaction_id)
    removed = connection.execute(sa.delete(conversations).where(running, conversations.c.num_interactions == 0))
    freed = connection.execute(sa.update(conversations).where(running).values(FREE))
    if removed.rowcount or freed.rowcount:
        free_keys(connection, claim.interaction_id)
        if trace is not None:
            _INSERT_TRACE.run(connection, trace_row(claim, trace, claim.graph, is_void=True))
        return False
    settled = sa.select(interactions.c.id).where(interactions.c.id == claim.interaction_id)
    return connection.execute(settled).first() is not None
