"""Leases: their hold, and their end."""

from datetime import datetime
from typing import Any

from tertulia import clock
from tertulia.storage.tables import conversations

FREE: dict[str, Any] = {
    "lease_token": conversations.c.lease_token + 1,
    "lease_owner": None,
    "lease_interaction_id": None,
    "lease_expires_at": None,
}
"""Values that end a lease. The token grows too, so that an older claim or an older look at the row is worth nothing."""


def is_live(lease_expires_at: datetime | None) -> bool:
    """Return True if a lease holds at this moment."""
    return lease_expires_at is not None and lease_expires_at > clock.now()
