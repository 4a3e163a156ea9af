"""Idempotency keys of callers, and the turns that they began.

A key is written in the transaction that claims its turn, and removed with a turn that is void, so that it is free
again. If a process died in between, the key points to nothing that lives, and counts as free too. A unit that writes or
removes a key has taken the conversation first: in the other order, two of them could wait for each other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from tertulia import clock
from tertulia.errors import KeyTaken, Unprocessable
from tertulia.storage.tables import conversations, idempotency_keys, interactions
from tertulia.storage.turn.lease import is_live

_TAKEN = "Another request with this Idempotency-Key has just begun."


@dataclass(frozen=True, slots=True)
class IdempotencyTicket:
    """A key as a request brings it, with a digest of the request."""

    org_id: str
    user_id: str
    key: str
    request_hash: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class EarlierTurn:
    """The turn that an earlier request with the same key began."""

    conversation_id: str
    interaction_id: str


class BegunTurn(Protocol):
    """A turn that has claimed its conversation."""

    @property
    def conversation_id(self) -> str: ...

    @property
    def interaction_id(self) -> str: ...


T = TypeVar("T", bound=BegunTurn)


def begin_once(
    connection: Connection, ticket: IdempotencyTicket | None, claim: Callable[[Connection], T]
) -> T | EarlierTurn:
    """Claim a turn, unless the key has begun one that is running or settled. Return the claim, or the earlier turn.

    Raises:
        Unprocessable: the key was used for another request.
        KeyTaken: another request with the key begins at this moment.
    """
    if ticket is None:
        return claim(connection)
    earlier = _find_earlier(connection, ticket)
    if earlier is not None:
        return earlier
    claimed = claim(connection)
    _tie(connection, ticket, claimed)
    return claimed


def _find_earlier(connection: Connection, ticket: IdempotencyTicket) -> EarlierTurn | None:
    row = connection.execute(sa.select(idempotency_keys).where(*_of(ticket))).first()
    if row is None or not _is_alive(connection, row.conversation_id, row.interaction_id, row.expires_at):
        return None
    if row.request_hash != ticket.request_hash:
        raise Unprocessable("This key was used for another request.", ("header", "Idempotency-Key"))
    return EarlierTurn(row.conversation_id, row.interaction_id)


def _tie(connection: Connection, ticket: IdempotencyTicket, begun: BegunTurn) -> None:
    """Note a key's turn. The key is looked up again before: a turn that looked dead may have settled meanwhile."""
    if _find_earlier(connection, ticket) is not None:
        raise KeyTaken(_TAKEN)
    connection.execute(sa.delete(idempotency_keys).where(*_of(ticket)))
    try:
        connection.execute(
            sa.insert(idempotency_keys).values(
                org_id=ticket.org_id,
                user_id=ticket.user_id,
                key=ticket.key,
                request_hash=ticket.request_hash,
                conversation_id=begun.conversation_id,
                interaction_id=begun.interaction_id,
                expires_at=ticket.expires_at,
            )
        )
    except IntegrityError as error:
        raise KeyTaken(_TAKEN) from error


def free_keys(connection: Connection, interaction_id: str) -> None:
    """Free the key of a void turn."""
    connection.execute(sa.delete(idempotency_keys).where(idempotency_keys.c.interaction_id == interaction_id))


def purge_keys(connection: Connection, now: datetime) -> None:
    """Remove the keys that are past their time."""
    connection.execute(sa.delete(idempotency_keys).where(idempotency_keys.c.expires_at <= now))


def _of(ticket: IdempotencyTicket) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        idempotency_keys.c.org_id == ticket.org_id,
        idempotency_keys.c.user_id == ticket.user_id,
        idempotency_keys.c.key == ticket.key,
    )


def _is_alive(connection: Connection, conversation_id: str, interaction_id: str, expires_at: datetime) -> bool:
    """Find the turn of a key. Return True if it is running, whatever its age, or settled and not expired.

    One statement: between two, a running turn may settle, and would be found in neither.
    """
    settled = sa.select(interactions.c.id).where(interactions.c.id == interaction_id).exists()
    holds = conversations.c.lease_interaction_id == interaction_id
    query = sa.select(settled, holds, conversations.c.lease_expires_at).where(conversations.c.id == conversation_id)
    row = connection.execute(query).first()
    if row is None:
        return False
    return (row[0] and expires_at > clock.now()) or (row[1] and is_live(row.lease_expires_at))
