"""What signs tokens. The keys are the installation's, so they are in the default cluster alone."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

from tertulia import clock
from tertulia.storage.tables import signing_keys


def insert_signing_key(connection: Connection, kid: str, encrypted_secret: str) -> None:
    """Insert a key; from now on it is the one that signs."""
    row = {"kid": kid, "encrypted_secret": encrypted_secret, "created_at": clock.now()}
    connection.execute(sa.insert(signing_keys), row)


def list_signing_keys(connection: Connection) -> Sequence[RowMapping]:
    """All keys, the newest last."""
    query = sa.select(signing_keys).order_by(signing_keys.c.created_at, signing_keys.c.kid)
    return connection.execute(query).mappings().all()
