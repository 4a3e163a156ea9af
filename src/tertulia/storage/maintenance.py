"""The maintenance of the installation: a row while it lasts."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.storage.tables import maintenance

_ROW = "maintenance"


def set_maintenance(connection: Connection, *, on: bool) -> None:
    """Begin or end the maintenance; safe to repeat."""
    if on and not is_under_maintenance(connection):
        connection.execute(sa.insert(maintenance).values(id=_ROW, since=clock.now()))
    elif not on:
        connection.execute(sa.delete(maintenance))


def is_under_maintenance(connection: Connection) -> bool:
    """Return whether the installation is under maintenance."""
    return connection.execute(sa.select(maintenance.c.id)).first() is not None
