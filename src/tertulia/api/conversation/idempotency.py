"""`Idempotency-Key`: a request that is sent again gets the stream that its first sending began.

An extension of the contract, in the manner of draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
from datetime import timedelta
from typing import Annotated

import msgspec
from fastapi import Header
from pydantic import BaseModel

from tertulia import clock
from tertulia.api.http.deps import Runtime
from tertulia.auth.actor import Actor
from tertulia.storage.turn.idempotency import Ticket

IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")]
"""A key of the caller's choice, e.g. a UUID."""


def make_ticket(
    runtime: Runtime, actor: Actor, key: str | None, operation: str, body: BaseModel, *query: str
) -> Ticket | None:
    """The ticket of a request with a key: two requests are the same when operation, body and query are."""
    if key is None:
        return None
    asked = msgspec.json.encode([operation, body.model_dump(mode="json"), *query], order="sorted")
    return Ticket(
        org_id=actor.org_id,
        user_id=actor.user_id,
        key=key,
        request_hash=hashlib.sha256(asked).hexdigest(),
        expires_at=clock.now() + timedelta(seconds=runtime.settings.turn.replay_s),
    )
