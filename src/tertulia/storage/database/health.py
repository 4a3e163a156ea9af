"""Does the database answer?"""

import sqlalchemy as sa
from sqlalchemy.engine import Connection


def ping(connection: Connection) -> None:
    """Ask something trivial."""
    connection.execute(sa.select(1))
