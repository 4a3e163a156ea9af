"""Keys that sign tokens. They are the installation's, so they are in the default cluster alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.storage.database.rows import columns, list_rows
from tertulia.storage.tables import signing_keys


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key that signs tokens, encrypted."""

    kid: str
    encrypted_secret: str
    created_at: datetime


def insert_signing_key(connection: Connection, kid: str, encrypted_secret: str) -> None:
    """Insert a key; from now on this one signs."""
    row = {"kid": kid, "encrypted_secret": encrypted_secret, "created_at": clock.now()}
    connection.execute(sa.insert(signing_keys), row)


def list_signing_keys(connection: Connection) -> Sequence[SigningKey]:
    """Fetch all keys. Return them with the newest last."""
    query = sa.select(*columns(SigningKey, signing_keys)).order_by(signing_keys.c.created_at, signing_keys.c.kid)
    return list_rows(connection, query, SigningKey)
