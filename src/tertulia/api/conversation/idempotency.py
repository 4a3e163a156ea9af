"""Idempotency keys: a request that is sent again gets the stream that its first sending began.

An extension of the contract, in the manner of draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
from datetime import timedelta
from typing import Annotated

import msgspec
from fastapi import Header
from pydantic import BaseModel

from tertulia import clock
from tertulia.api.http.deps import Caller
from tertulia.storage.turn.idempotency import IdempotencyTicket

IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]
"""A key of the caller's choice, e.g. a UUID."""


def make_ticket(
    caller: Caller, key: str | None, operation: str, body: BaseModel, *query: str
) -> IdempotencyTicket | None:
    """Make the ticket of a request. Return None without a key.

    Two requests are the same when operation, body and query are.
    """
    if key is None:
        return None
    asked = msgspec.json.encode([operation, body.model_dump(mode="json"), *query], order="sorted")
    return IdempotencyTicket(
        org_id=caller.claims.org_id,
        user_id=caller.claims.user_id,
        key=key,
        request_hash=hashlib.sha256(asked).hexdigest(),
        expires_at=clock.now() + timedelta(seconds=caller.runtime.settings.turn.replay_s),
    )
