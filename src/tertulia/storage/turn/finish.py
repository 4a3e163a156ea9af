"""The end of a conversation."""

import sqlalchemy as sa
from sqlalchemy import bindparam
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.errors import Conflict, TurnRunning
from tertulia.storage import post_processing
from tertulia.storage.conversation import Conversation
from tertulia.storage.database.prepared import Prepared
from tertulia.storage.result import begin_result
from tertulia.storage.tables import conversations
from tertulia.storage.turn.idempotency import free_keys
from tertulia.storage.turn.lease import FREE, is_live


def refuse_unless_idle(conversation: Conversation) -> None:
    """Raise Conflict when a conversation is finished, TurnRunning when a turn of it is running."""
    if conversation.is_finished:
        raise Conflict("The conversation is finished.")
    lease = conversation.lease
    if is_live(lease.expires_at) and lease.interaction_id is not None:
        raise TurnRunning("Another operation on this conversation is running.", conversation.id, lease.interaction_id)


_UNCHANGED = conversations.c.id == bindparam("b_id"), conversations.c.lease_token == bindparam("b_token")
_FINISH = Prepared(
    sa.update(conversations).where(*_UNCHANGED).values(is_finished=True, finished_at=bindparam("b_now"), **FREE)
)
_REMOVE = Prepared(sa.delete(conversations).where(*_UNCHANGED))


def finish(connection: Connection, conversation: Conversation) -> None:
    """Finish a conversation that this transaction has read; one that has no messages is removed.

    A finished one whose post-processing has failed is processed again.

    Raises:
        Conflict: it is finished, or a turn of it is running.
    """
    if conversation.is_finished and post_processing.retry(connection, conversation.org_id, conversation.id):
        return
    refuse_unless_idle(conversation)
    held = conversation.lease
    key = {"b_id": conversation.id, "b_token": held.token}
    if conversation.num_interactions:
        done = _FINISH.run(connection, {**key, "b_now": clock.now()})
    else:
        done = _REMOVE.run(connection, key)
    if not done:
        raise Conflict("Another operation on this conversation is running.")
    if held.interaction_id is not None:  # of a turn that died
        free_keys(connection, held.interaction_id)
    if conversation.num_interactions:
        post_processing.begin(connection, conversation.org_id, conversation.id)
        begin_result(connection, conversation.org_id, conversation.id, conversation.service_id)
