"""A sign of life of the database."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection


def ping(connection: Connection) -> None:
    """Send a trivial query."""
    connection.execute(sa.select(1))
