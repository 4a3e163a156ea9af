"""`Idempotency-Key`: which turn a caller's key began.

A key is written in the transaction that claims its turn, and removed with a turn that is void, so that it is free
again. Where a process died in between, the key points to nothing that lives, and counts as free too.
"""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from tertulia import clock
from tertulia.errors import Conflict, Unprocessable
from tertulia.storage.lease import is_live
from tertulia.storage.tables import conversations, idempotency_keys, interactions


class KeyTaken(Conflict):
    """Another request with the key begins at this moment."""


@dataclass(frozen=True, slots=True)
class Ticket:
    """A key as a request brings it, and what the request asks, as a digest."""

    org_id: str
    user_id: str
    key: str
    request_hash: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Earlier:
    """The turn that an earlier request with the same key began."""

    conversation_id: str
    interaction_id: str


def find_earlier(connection: Connection, ticket: Ticket) -> Earlier | None:
    """The turn of a key, if it is running or settled; a key that points to nothing is freed.

    Raises:
        Unprocessable: the key was used for another request.
    """
    row = connection.execute(sa.select(idempotency_keys).where(*_of(ticket))).first()
    if row is None:
        return None
    if row.expires_at <= clock.now() or not _is_alive(connection, row.conversation_id, row.interaction_id):
        connection.execute(sa.delete(idempotency_keys).where(*_of(ticket)))
        return None
    if row.request_hash != ticket.request_hash:
        raise Unprocessable("This key was used for another request.", ("header", "Idempotency-Key"))
    return Earlier(row.conversation_id, row.interaction_id)


def insert_key(connection: Connection, ticket: Ticket, conversation_id: str, interaction_id: str) -> None:
    """Tie a key to a turn. Raises KeyTaken: another request does so at this moment."""
    try:
        connection.execute(
            sa.insert(idempotency_keys).values(
                org_id=ticket.org_id,
                user_id=ticket.user_id,
                key=ticket.key,
                request_hash=ticket.request_hash,
                conversation_id=conversation_id,
                interaction_id=interaction_id,
                expires_at=ticket.expires_at,
            )
        )
    except IntegrityError as error:
        raise KeyTaken("Another request with this Idempotency-Key has just begun.") from error


def free_keys(connection: Connection, interaction_id: str) -> None:
    """Free the key of a void turn."""
    connection.execute(sa.delete(idempotency_keys).where(idempotency_keys.c.interaction_id == interaction_id))


def purge_keys(connection: Connection, now: datetime) -> None:
    """Remove what is past its time."""
    connection.execute(sa.delete(idempotency_keys).where(idempotency_keys.c.expires_at <= now))


def _of(ticket: Ticket) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        idempotency_keys.c.org_id == ticket.org_id,
        idempotency_keys.c.user_id == ticket.user_id,
        idempotency_keys.c.key == ticket.key,
    )


def _is_alive(connection: Connection, conversation_id: str, interaction_id: str) -> bool:
    """One statement: between two, a running turn may settle, and would be found in neither."""
    settled = sa.select(interactions.c.id).where(interactions.c.id == interaction_id).exists()
    holds = conversations.c.lease_interaction_id == interaction_id
    query = sa.select(settled, holds, conversations.c.lease_expires_at).where(conversations.c.id == conversation_id)
    row = connection.execute(query).first()
    return row is not None and (row[0] or (row[1] and is_live(row.lease_expires_at)))
