"""Taking a conversation for a turn: a new one, or one that is there.

One turn runs at a time, by a lease with a fencing token that grows with each claim. A lease ends by itself: a later
request may claim the conversation then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from tertulia import clock
from tertulia.errors import BadRequest, Conflict, NotFound, TurnRunning
from tertulia.events import VersionInfo
from tertulia.storage.conversation import Conversation, UserProfile
from tertulia.storage.database.prepared import Prepared, insert
from tertulia.storage.tables import agents, context_graphs, conversations, services, users, version_sets
from tertulia.storage.turn.finish import refuse_unless_idle
from tertulia.storage.turn.history import HistoryBounds, list_history
from tertulia.storage.turn.idempotency import free_keys
from tertulia.storage.turn.lease import is_live
from tertulia.storage.turn.values import Claim, Lease, Opening

SERVICE = (
    sa.select(
        services.c.is_active,
        services.c.agent_id,
        services.c.context_graph_id,
        sa.func.coalesce(version_sets.c.agent_version, agents.c.latest_version).label("agent_version"),
        sa.func.coalesce(version_sets.c.context_graph_version, context_graphs.c.latest_version).label("graph_version"),
        version_sets.c.name,
        version_sets.c.llm_model_preferences,
        services.c.behaviors_revision,
        users.c.first_name,
        users.c.last_name,
        users.c.preferences,
        users.c.additional_context,
        users.c.memory_revision,
        users.c.memory_forgotten_at,
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
"""A service as a conversation is about to use it, with its version set, if that is there, and the user."""

_SERVICE = Prepared(SERVICE)

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


@dataclass(frozen=True, slots=True)
class OpenedService:
    """A service as a conversation is about to use it: its versions resolved, and the user who asks for it."""

    agent: VersionInfo
    graph: VersionInfo
    llm_model_preferences: Mapping[str, Any]
    behaviors_revision: int
    profile: UserProfile


def get_opened_service(connection: Connection, opening: Opening) -> OpenedService:
    """Resolve the service and version set that a conversation is to use. Return the versions.

    Raises:
        NotFound: the service or its version set does not exist.
        BadRequest: the service is inactive.
    """
    row = _SERVICE.first(connection, keys_of(opening))
    if row is None:
        raise NotFound(f"There is no service {opening.service_id}.")
    if row["name"] is None:
        raise NotFound(f"The service has no version set {opening.version_set_name}.")
    if not row["is_active"]:
        raise BadRequest("The service is inactive.")
    return opened_service(row)


def keys_of(opening: Opening) -> dict[str, Any]:
    """Return the parameters of `SERVICE`."""
    return {
        "org_id": opening.org_id,
        "service_id": opening.service_id,
        "user_id": opening.user_id,
        "version_set_name": opening.version_set_name,
    }


def opened_service(row: Mapping[str, Any]) -> OpenedService:
    """Return a row of `SERVICE` as a value."""
    return OpenedService(
        agent=(row["agent_id"], row["agent_version"]),
        graph=(row["context_graph_id"], row["graph_version"]),
        llm_model_preferences=row["llm_model_preferences"],
        behaviors_revision=row["behaviors_revision"],
        profile=UserProfile(
            row["first_name"],
            row["last_name"],
            row["preferences"],
            row["additional_context"],
            row["memory_revision"],
            row["memory_forgotten_at"],
        ),
    )


def claim_new(connection: Connection, opening: Opening, lease: Lease) -> Claim:
    """Insert a conversation that its first turn owns. Return the turn's claim.

    Raises:
        NotFound, BadRequest: as `get_opened_service`.
        BadRequest: the user has an unfinished conversation of the service.
        Conflict: the user is creating one at this moment.
    """
    service = get_opened_service(connection, opening)
    returning = _clear_the_way(connection, opening)
    row = row_of(opening, service, lease)
    try:
        _INSERT_CONVERSATION.run(connection, row)
    except IntegrityError as error:
        raise Conflict("Another request is creating a conversation of this service.") from error
    return claim_of(opening, service, lease, returning=returning)


def claim_of(opening: Opening, service: OpenedService, lease: Lease, *, returning: bool) -> Claim:
    """Return the claim of a conversation that has just been inserted."""
    return Claim(
        org_id=opening.org_id,
        user_id=opening.user_id,
        conversation_id=opening.conversation_id,
        service_id=opening.service_id,
        interaction_id=lease.interaction_id,
        lease_token=1,
        agent=service.agent,
        graph=service.graph,
        llm_model_preferences=service.llm_model_preferences,
        position=None,
        returning=returning,
        profile=service.profile,
        attributes=opening.attributes,
        num_interactions=0,
        last_message_time=None,
        behaviors_revision=service.behaviors_revision,
    )


_INSERT_CONVERSATION = insert(conversations)


def row_of(opening: Opening, service: OpenedService, lease: Lease) -> dict[str, Any]:
    """Return the row of a conversation whose first turn owns it."""
    return {
        "id": opening.conversation_id,
        "org_id": opening.org_id,
        "user_id": opening.user_id,
        "service_id": opening.service_id,
        "version_set_name": opening.version_set_name,
        "agent_id": service.agent[0],
        "agent_version": service.agent[1],
        "context_graph_id": service.graph[0],
        "context_graph_version": service.graph[1],
        "llm_model_preferences": service.llm_model_preferences,
        "tags": opening.tags,
        "is_test": opening.is_test,
        "is_finished": False,
        "is_analyzed": False,
        "completed_post_processings": [],
        "post_processing_error": None,
        "position": [],
        "behavior": None,
        "working_memory": None,
        "performed_queries": None,
        "tool_results": None,
        "pending_calls": None,
        "num_interactions": 0,
        "num_messages": 0,
        "last_interaction_id": None,
        "last_message_time": None,
        "created_at": clock.now(),
        "finished_at": None,
        "lease_token": 1,
        "lease_owner": lease.owner,
        "lease_interaction_id": lease.interaction_id,
        "lease_expires_at": lease.expires_at,
    }


def _clear_the_way(connection: Connection, opening: Opening) -> bool:
    """Refuse the opening while another conversation is in the way. Return True if the user has finished one before."""
    key = {"user_id": opening.user_id, "service_id": opening.service_id, "org_id": opening.org_id}
    returning = False
    for earlier in _EARLIER.all(connection, key):
        if earlier["is_finished"]:
            returning = True
        elif is_live(earlier["lease_expires_at"]):
            text = "The user has an unfinished conversation of this service, and its turn is running."
            raise TurnRunning(text, earlier["id"], earlier["lease_interaction_id"])
        elif earlier["num_interactions"]:
            raise BadRequest(
                f"The user has an unfinished conversation of this service: {earlier['id']}. Finish it first."
            )
        else:  # its first turn died before it was committed
            _remove_dead(connection, earlier)
    return returning


def _remove_dead(connection: Connection, earlier: Mapping[str, Any]) -> None:
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


def claim_existing(connection: Connection, conversation: Conversation, lease: Lease, history: HistoryBounds) -> Claim:
    """Take the lease of a conversation that this transaction has read. Return the turn's claim.

    `history` bounds the messages that the turn wants to see.

    Raises:
        NotFound: its first turn was never committed.
        Conflict: it is finished, or a turn of it is running.
    """
    refuse_unless_idle(conversation)
    if not conversation.num_interactions:
        raise NotFound(f"There is no conversation {conversation.id}.")
    held = conversation.lease
    taken = _TAKE_LEASE.run(
        connection,
        {
            "b_id": conversation.id,
            "b_token": held.token,
            "b_owner": lease.owner,
            "b_interaction_id": lease.interaction_id,
            "b_expires_at": lease.expires_at,
        },
    )
    if not taken:
        raise Conflict("Another operation on this conversation is running.")
    if held.interaction_id is not None:  # of a turn that died
        free_keys(connection, held.interaction_id)
    return Claim(
        org_id=conversation.org_id,
        user_id=conversation.owner.user_id,
        conversation_id=conversation.id,
        service_id=conversation.service_id,
        interaction_id=lease.interaction_id,
        lease_token=held.token + 1,
        agent=conversation.agent,
        graph=conversation.graph,
        llm_model_preferences=conversation.llm_model_preferences,
        position=conversation.position,
        returning=False,
        profile=conversation.profile,
        attributes=conversation.attributes,
        num_interactions=conversation.num_interactions,
        last_message_time=conversation.last_message_time,
        behaviors_revision=conversation.behaviors_revision,
        behavior=conversation.behavior,
        working_memory=conversation.working_memory,
        performed_queries=conversation.performed_queries,
        tool_results=conversation.tool_results,
        pending_calls=conversation.pending_calls,
        history=list_history(connection, conversation.id, history),
    )
