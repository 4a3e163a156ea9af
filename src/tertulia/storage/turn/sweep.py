"""Leases over time: lengthened while their worker lives, ended and freed when it does not."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.storage.database.shapes import among
from tertulia.storage.tables import conversations
from tertulia.storage.turn.idempotency import free_keys
from tertulia.storage.turn.lease import FREE

RENEWED_AT_ONCE = 1000
"""Conversations that one statement names."""


def renew(connection: Connection, owner: str, expires_at: datetime, running: Sequence[str] | None = None) -> None:
    """Lengthen the leases of a worker; with `running`, those of these conversations alone.

    A lease whose turn is not running any more, because its claim or its end got lost, has to end by itself.
    """
    mine = sa.and_(conversations.c.lease_owner == owner, conversations.c.lease_expires_at.is_not(None))
    renewed = sa.update(conversations).where(mine).values(lease_expires_at=expires_at)
    if running is None:
        connection.execute(renewed)
        return
    for first in range(0, len(running), RENEWED_AT_ONCE):
        connection.execute(renewed.where(among(conversations.c.id, running[first : first + RENEWED_AT_ONCE])))


def sweep(connection: Connection, now: datetime) -> int:
    """Abandon every turn whose lease has ended. Return how many there were."""
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


def end_expired(connection: Connection, conversation_id: str, interaction_id: str) -> None:
    """Abandon a turn if its lease has ended. A worker that is about to commit it does so before this, or never."""
    this = sa.and_(
        conversations.c.id == conversation_id,
        conversations.c.lease_interaction_id == interaction_id,
        conversations.c.lease_expires_at <= clock.now(),
    )
    removed = connection.execute(sa.delete(conversations).where(this, conversations.c.num_interactions == 0))
    freed = connection.execute(sa.update(conversations).where(this).values(FREE))
    if removed.rowcount or freed.rowcount:
        free_keys(connection, interaction_id)
