"""API keys: 256 random bits that let a program sign in as users of lower rank than the key's role."""

import hashlib
import hmac
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.auth.ranks import Ranks
from tertulia.auth.tokens import KeyInUse
from tertulia.errors import Unauthorized
from tertulia.storage import user as users
from tertulia.storage.api_key import (
    ExpiringKey,
    NewApiKey,
    find_api_key,
    insert_api_key,
    list_expiring,
    note_warned,
)
from tertulia.storage.versioned import Author

SHORTEST_LIFE, LONGEST_LIFE = timedelta(days=1), timedelta(days=90)

MOST_KEYS = 20
"""Keys of an organization that have not ended."""

WARNED_BEFORE = (timedelta(days=1), timedelta(days=7))
"""The times before the end of a key at which the log warns of it."""

_REFUSED = "The API key or the user is not valid."


@dataclass(frozen=True, slots=True)
class IssuedKey:
    """A new key; this is the only time that `api_key` is known."""

    api_key_id: str
    api_key: str
    expires_at: datetime


def issue(
    connection: Connection,
    org_id: str,
    role_id: str,
    author: Author,
    name: str | None = None,
    life: timedelta = LONGEST_LIFE,
) -> IssuedKey:
    """Make and store a key. Return it; nobody can read it again."""
    key = secrets.token_urlsafe(32)
    issued = IssuedKey(str(uuid.uuid4()), key, clock.now() + life)
    insert_api_key(
        connection,
        NewApiKey(
            org_id=org_id,
            key_id=issued.api_key_id,
            key_hash=_hash(key),
            name=name,
            role_id=role_id,
            creator_org_id=author.org_id,
            creator_user_id=author.user_id,
            expires_at=issued.expires_at,
        ),
    )
    return issued


def check_sign_in(connection: Connection, ranks: Ranks, org_id: str, key_id: str, key: str, user_id: str) -> KeyInUse:
    """Check that a key may sign in as a user. Return the key for the token.

    Raises:
        Unauthorized: the key is unknown, wrong or expired, the user unknown, or not of lower rank than the key. The
            contract knows no 403 here, and one text for all keeps strangers from learning which keys and users exist.
    """
    # Whatever is wrong, the same work is done.
    stored = find_api_key(connection, org_id, key_id)
    role = users.find_role_of(connection, org_id, user_id)
    right = hmac.compare_digest(stored.key_hash if stored else _hash(""), _hash(key))
    if stored is None or role is None or not right or stored.expires_at <= clock.now():
        raise Unauthorized(_REFUSED)
    above, below = ((each.role_id, each.permission_grants) for each in (stored, role))
    if not ranks.outranks(org_id, above, below):
        raise Unauthorized(_REFUSED)
    return KeyInUse(stored.key_id, stored.expires_at)


def warn_of_keys(connection: Connection) -> Sequence[ExpiringKey]:
    """Look for keys that end in a week, or in a day, and of which nobody was warned. Return them, once each time."""
    now = clock.now()
    found = [key for before in WARNED_BEFORE for key in list_expiring(connection, now, before)]
    note_warned(connection, [key.id for key in found], now)
    return list({key.id: key for key in found}.values())


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
