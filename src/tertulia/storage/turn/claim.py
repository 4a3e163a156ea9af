"""Taking a conversation for a turn: a new one, or one that is there.

One turn runs at a time, by a lease with a fencing token that grows with each claim. A lease ends by itself: a later
request may claim the conversation then.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from tertulia import clock
from tertulia.errors import BadRequest, Conflict, NotFound
from tertulia.storage.conversation import Authorize, Record, get_conversation, refuse_unless_idle
from tertulia.storage.database.prepared import Prepared, insert
from tertulia.storage.tables import agents, context_graphs, conversations, services, users, version_sets
from tertulia.storage.turn.history import list_history
from tertulia.storage.turn.idempotency import free_keys
from tertulia.storage.turn.lease import is_live
from tertulia.storage.turn.values import Claim, Lease, Opening

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
