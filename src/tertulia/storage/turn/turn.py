"""What a turn writes, in two short units.

`claim_new` or `claim_existing` takes the conversation's lease: one turn at a time, with a fencing token that grows with
each claim. `settle` commits all that the turn made, if the lease is still its own; `abandon` gives the lease back and
leaves nothing of the turn. A lease ends by itself: whoever comes later may claim, and `sweep` frees what a dead process
left.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from tertulia import clock
from tertulia.errors import BadRequest, Conflict, NotFound
from tertulia.events import MessageFormat, MessageType, VersionInfo
from tertulia.ids import new_id
from tertulia.storage.conversation import Authorize, Record, get_conversation, refuse_unless_idle
from tertulia.storage.database.prepared import Prepared, insert
from tertulia.storage.tables import (
    agents,
    context_graphs,
    conversations,
    interactions,
    messages,
    recordings,
    services,
    streams,
    users,
    version_sets,
)
from tertulia.storage.turn.idempotency import free_keys
from tertulia.storage.turn.lease import FREE, is_live
from tertulia.storage.turn.stream import compress


@dataclass(frozen=True, slots=True)
class Lease:
    """Which worker runs a turn, which interaction it makes, and until when nobody else may have the conversation."""

    owner: str
    interaction_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Opening:
    """A conversation that is about to begin."""

    org_id: str
    user_id: str
    service_id: str
    version_set_name: str
    tags: Mapping[str, str | None]
    is_test: bool
    conversation_id: str = field(default_factory=new_id)


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it is stored."""

    id: str
    message_type: MessageType
    format: MessageFormat
    sender: str
    content: str
    created_at: datetime


ContentType = Literal["audio/wav", "audio/mpeg"]


@dataclass(frozen=True, slots=True)
class Recording:
    """The sound of a spoken message, as a file of its content type."""

    message_id: str
    content_type: ContentType
    body: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """A turn's right to a conversation, and what the turn has to know of it. `position` is None for a new one."""

    org_id: str
    user_id: str
    conversation_id: str
    interaction_id: str
    lease_token: int
    agent: VersionInfo
    graph: VersionInfo
    llm_model_preferences: Mapping[str, Any]
    position: list[list[Any]] | None
    returning: bool
    user: Record
    num_interactions: int
    last_message_time: datetime | None
    history: Sequence[Message] = ()


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a turn made, to be committed as one; `stream` is its NDJSON body."""

    created_at: datetime
    messages: Sequence[Message]
    position: list[list[Any]]
    insights: Mapping[str, Any]
    finished: bool
    stream: bytes
    stream_expires_at: datetime
    recordings: Sequence[Recording] = ()


_SERVICE = Prepared(
    sa.select(
        services.c.is_active,
        services.c.agent_id,
        services.c.context_graph_id,
        sa.func.coalesce(version_sets.c.agent_version, agents.c.latest_version).label("agent_version"),
        sa.func.coalesce(version_sets.c.context_graph_version, context_graphs.c.latest_version).label("graph_version"),
        version_sets.c.name,
        version_sets.c.llm_model_preferences,
        users.c.first_name,
        users.c.last_name,
        users.c.preferences,
        users.c.additional_context,
    )
    .join(agents, agents.c.id == services.c.agent_id)
    .join(context_graphs, context_graphs.c.id == services.c.context_graph_id)
    .join(users, sa.and_(users.c.id == bindparam("user_id"), users.c.org_id == services.c.org_id))
    .outerjoin(
        version_sets,
        sa.and_(version_sets.c.service_id == services.c.id, version_sets.c.name == bindparam("version_set_name")),
    )
    .where(services.c.org_id == bindparam("org_id"), services.c.id == bindparam("service_id"))
)

# An unfinished conversation first, if there is one, then a finished one: at most two rows, whatever the user's past.
_EARLIER = Prepared(
    sa.select(
        conversations.c.id,
        conversations.c.is_finished,
        conversations.c.num_interactions,
        conversations.c.lease_token,
        conversations.c.lease_interaction_id,
        conversations.c.lease_expires_at,
    )
    .where(
        conversations.c.user_id == bindparam("user_id"),
        conversations.c.service_id == bindparam("service_id"),
        conversations.c.org_id == bindparam("org_id"),
    )
    .order_by(conversations.c.is_finished)
    .limit(2)
)


def find_service(connection: Connection, opening: Opening) -> dict[str, Any]:
    """The service and version set that a conversation is to use, with the versions resolved.

    Raises:
        NotFound: the service or its version set does not exist.
        BadRequest: the service is inactive.
    """
    row = _SERVICE.first(
        connection,
        {
            "org_id": opening.org_id,
            "service_id": opening.service_id,
            "user_id": opening.user_id,
            "version_set_name": opening.version_set_name,
        },
    )
    if row is None:
        raise NotFound(f"There is no service {opening.service_id}.")
    if row["name"] is None:
        raise NotFound(f"The service has no version set {opening.version_set_name}.")
    if not row["is_active"]:
        raise BadRequest("The service is inactive.")
    return row


def claim_new(connection: Connection, opening: Opening, lease: Lease) -> Claim:
    """Insert a conversation that its first turn owns.

    Raises:
        NotFound, BadRequest: as `find_service`.
        BadRequest: the user has an unfinished conversation of the service.
        Conflict: the user is creating one at this moment.
    """
    service = find_service(connection, opening)
    returning = _clear_the_way(connection, opening)
    now = clock.now()
    row: dict[str, Any] = {
        "id": opening.conversation_id,
        "org_id": opening.org_id,
        "user_id": opening.user_id,
        "service_id": opening.service_id,
        "version_set_name": opening.version_set_name,
        "agent_id": service["agent_id"],
        "agent_version": service["agent_version"],
        "context_graph_id": service["context_graph_id"],
        "context_graph_version": service["graph_version"],
        "llm_model_preferences": service["llm_model_preferences"],
        "tags": opening.tags,
        "is_test": opening.is_test,
        "is_finished": False,
        "is_analyzed": False,
        "completed_post_processings": [],
        "position": [],
        "num_interactions": 0,
        "num_messages": 0,
        "last_interaction_id": None,
        "last_message_time": None,
        "created_at": now,
        "finished_at": None,
        "lease_token": 1,
        "lease_owner": lease.owner,
        "lease_interaction_id": lease.interaction_id,
        "lease_expires_at": lease.expires_at,
    }
    try:
        _INSERT_CONVERSATION.run(connection, row)
    except IntegrityError as error:
        raise Conflict("Another request is creating a conversation of this service.") from error
    return Claim(
        org_id=opening.org_id,
        user_id=opening.user_id,
        conversation_id=row["id"],
        interaction_id=lease.interaction_id,
        lease_token=1,
        agent=(service["agent_id"], service["agent_version"]),
        graph=(service["context_graph_id"], service["graph_version"]),
        llm_model_preferences=service["llm_model_preferences"],
        position=None,
        returning=returning,
        user=service,
        num_interactions=0,
        last_message_time=None,
    )


_INSERT_CONVERSATION = insert(conversations)


def _clear_the_way(connection: Connection, opening: Opening) -> bool:
    """See that no conversation is in the way; say whether the user has finished one before."""
    key = {"user_id": opening.user_id, "service_id": opening.service_id, "org_id": opening.org_id}
    returning = False
    for earlier in _EARLIER.all(connection, key):
        if earlier["is_finished"]:
            returning = True
        elif is_live(earlier["lease_expires_at"]):
            raise Conflict("The user has an unfinished conversation of this service, and its turn is running.")
        elif earlier["num_interactions"]:
            raise BadRequest(
                f"The user has an unfinished conversation of this service: {earlier['id']}. Finish it first."
            )
        else:  # its first turn died before it was committed
            _remove_dead(connection, earlier)
    return returning


def _remove_dead(connection: Connection, earlier: Record) -> None:
    mine = sa.and_(conversations.c.id == earlier["id"], conversations.c.lease_token == earlier["lease_token"])
    if not connection.execute(sa.delete(conversations).where(mine)).rowcount:
        raise Conflict("Another operation on the user's conversation of this service is running.")
    free_keys(connection, earlier["lease_interaction_id"])


_TAKE_LEASE = Prepared(
    sa.update(conversations)
    .where(conversations.c.id == bindparam("b_id"), conversations.c.lease_token == bindparam("b_token"))
    .values(
        lease_token=conversations.c.lease_token + 1,
        lease_owner=bindparam("b_owner"),
        lease_interaction_id=bindparam("b_interaction_id"),
        lease_expires_at=bindparam("b_expires_at"),
    )
)

_HISTORY = Prepared(
    sa.select(
        messages.c.id,
        messages.c.message_type,
        messages.c.format,
        messages.c.sender,
        messages.c.content,
        messages.c.created_at,
    )
    .where(messages.c.conversation_id == bindparam("conversation_id"))
    .order_by(messages.c.created_at.desc())
    .limit(bindparam("limit"))
)


def claim_existing(
    connection: Connection, org_id: str, conversation_id: str, lease: Lease, history: int, authorize: Authorize
) -> Claim:
    """Take the lease of a conversation for another turn; `history` is how many messages the turn wants to see.

    Raises:
        NotFound: there is none, or its first turn was never committed.
        Forbidden: `authorize` says so.
        Conflict: it is finished, or a turn of it is running.
    """
    row = get_conversation(connection, org_id, conversation_id)
    authorize(row)
    refuse_unless_idle(row)
    if not row["num_interactions"]:
        raise NotFound(f"There is no conversation {conversation_id}.")
    taken = _TAKE_LEASE.run(
        connection,
        {
            "b_id": conversation_id,
            "b_token": row["lease_token"],
            "b_owner": lease.owner,
            "b_interaction_id": lease.interaction_id,
            "b_expires_at": lease.expires_at,
        },
    )
    if not taken:
        raise Conflict("Another operation on this conversation is running.")
    if row["lease_interaction_id"] is not None:  # of a turn that died
        free_keys(connection, row["lease_interaction_id"])
    return Claim(
        org_id=org_id,
        user_id=row["user_id"],
        conversation_id=conversation_id,
        interaction_id=lease.interaction_id,
        lease_token=row["lease_token"] + 1,
        agent=(row["agent_id"], row["agent_version"]),
        graph=(row["context_graph_id"], row["context_graph_version"]),
        llm_model_preferences=row["llm_model_preferences"],
        position=row["position"],
        returning=False,
        user=row,
        num_interactions=row["num_interactions"],
        last_message_time=row["last_message_time"],
        history=list_history(connection, conversation_id, history),
    )


def list_history(connection: Connection, conversation_id: str, limit: int) -> list[Message]:
    """The newest `limit` messages, oldest first."""
    rows = _HISTORY.all(connection, {"conversation_id": conversation_id, "limit": limit})
    return [Message(**row) for row in reversed(rows)]


_SETTLE = Prepared(
    sa.update(conversations)
    .where(conversations.c.id == bindparam("b_id"), conversations.c.lease_token == bindparam("b_token"))
    .values(
        position=bindparam("b_position"),
        num_interactions=conversations.c.num_interactions + 1,
        num_messages=conversations.c.num_messages + bindparam("b_messages"),
        last_interaction_id=bindparam("b_interaction_id"),
        last_message_time=bindparam("b_last_message_time"),
        is_finished=bindparam("b_finished"),
        finished_at=bindparam("b_finished_at"),
        **FREE,
    )
)

_COUNT = Prepared(
    sa.update(users)
    .where(users.c.id == bindparam("b_id"))
    .values(
        num_conversations=users.c.num_conversations + bindparam("b_conversations"),
        num_messages=users.c.num_messages + bindparam("b_messages"),
        last_message_time=bindparam("b_last_message_time"),
    )
)


def settle(connection: Connection, claim: Claim, made: Settlement) -> None:
    """Commit a turn: its messages, its interaction, where the conversation now stands; and give the lease back.

    Raises:
        Conflict: the lease went to somebody else, or the user is gone, so nothing is stored.
    """
    last = made.messages[-1].created_at
    settled = _SETTLE.run(
        connection,
        {
            "b_id": claim.conversation_id,
            "b_token": claim.lease_token,
            "b_position": made.position,
            "b_messages": sum(message.message_type != "agent-inner-thought" for message in made.messages),
            "b_interaction_id": claim.interaction_id,
            "b_last_message_time": last,
            "b_finished": made.finished,
            "b_finished_at": last if made.finished else None,
        },
    )
    if not settled:
        raise Conflict("The turn took too long, and another has the conversation now.")
    _INSERT_INTERACTION.run(
        connection,
        {
            "id": claim.interaction_id,
            "org_id": claim.org_id,
            "conversation_id": claim.conversation_id,
            "number": claim.num_interactions + 1,
            "insights": made.insights,
            "created_at": made.created_at,
        },
    )
    _INSERT_MESSAGE.run_many(connection, [_message_row(claim, message) for message in made.messages])
    _INSERT_RECORDING.run_many(connection, [_recording_row(claim, made, recording) for recording in made.recordings])
    _INSERT_STREAM.run(
        connection,
        {
            "org_id": claim.org_id,
            "interaction_id": claim.interaction_id,
            "conversation_id": claim.conversation_id,
            "body": compress(made.stream),
            "expires_at": made.stream_expires_at,
        },
    )
    counted = _COUNT.run(
        connection,
        {
            "b_id": claim.user_id,
            "b_conversations": int(claim.num_interactions == 0),
            "b_messages": sum(message.message_type in ("user-message", "agent-message") for message in made.messages),
            "b_last_message_time": last,
        },
    )
    if not counted:
        raise Conflict("The user has been deleted.")


_INSERT_STREAM = insert(streams)
_INSERT_INTERACTION = insert(interactions)
_INSERT_MESSAGE = insert(messages)
_INSERT_RECORDING = insert(recordings)


def _message_row(claim: Claim, message: Message) -> dict[str, Any]:
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
        "body": recording.body,
        "created_at": made.created_at,
    }


def abandon(connection: Connection, claim: Claim) -> bool:
    """Leave nothing of a turn: remove a conversation that was never settled, else give its lease back. Safe twice.

    True: there was nothing to abandon, for the turn is settled after all, and only the answer to that was lost.
    """
    mine = sa.and_(conversations.c.id == claim.conversation_id, conversations.c.lease_token == claim.lease_token)
    running = sa.and_(mine, conversations.c.lease_interaction_id == claim.interaction_id)
    removed = connection.execute(sa.delete(conversations).where(running, conversations.c.num_interactions == 0))
    freed = connection.execute(sa.update(conversations).where(running).values(FREE))
    if removed.rowcount or freed.rowcount:
        free_keys(connection, claim.interaction_id)
        return False
    settled = sa.select(interactions.c.id).where(interactions.c.id == claim.interaction_id)
    return connection.execute(settled).first() is not None


RENEWED_AT_ONCE = 1000
"""Conversations that one statement names."""


def renew(connection: Connection, owner: str, expires_at: datetime, running: Sequence[str] | None = None) -> None:
    """Lengthen the leases of a worker: of the `running` conversations alone, where they are named.

    A lease whose turn is not running any more, because its claim or its end got lost, has to end by itself.
    """
    mine = sa.and_(conversations.c.lease_owner == owner, conversations.c.lease_expires_at.is_not(None))
    renewed = sa.update(conversations).where(mine).values(lease_expires_at=expires_at)
    if running is None:
        connection.execute(renewed)
        return
    for first in range(0, len(running), RENEWED_AT_ONCE):
        connection.execute(renewed.where(conversations.c.id.in_(running[first : first + RENEWED_AT_ONCE])))


def sweep(connection: Connection, now: datetime) -> int:
    """Abandon every turn whose lease has ended; how many there were."""
    # Locked, so that none of them is renewed or settled meanwhile; one that is at it, or another sweeper has, can wait.
    expired = (
        sa.select(conversations.c.id, conversations.c.lease_interaction_id)
        .where(conversations.c.lease_expires_at.is_not(None), conversations.c.lease_expires_at <= now)
        .with_for_update(skip_locked=True)
    )
    dead = connection.execute(expired).all()
    for row in dead:
        free_keys(connection, row.lease_interaction_id)
        this = conversations.c.id == row.id
        connection.execute(sa.delete(conversations).where(this, conversations.c.num_interactions == 0))
        connection.execute(sa.update(conversations).where(this).values(FREE))
    return len(dead)


def shorten(connection: Connection, latest: datetime) -> None:
    """End leases at `latest` at the latest: one that goes on longer was given before the clock was set back."""
    connection.execute(
        sa.update(conversations).where(conversations.c.lease_expires_at > latest).values(lease_expires_at=latest)
    )
