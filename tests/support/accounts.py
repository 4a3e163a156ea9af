"""Changes of users that the API does not offer."""

import sqlalchemy as sa

from support.server import Server
from tertulia.storage.database import dialect
from tertulia.storage.tables import users


def demote(server: Server, user_id: str) -> None:
    """From below: there is no way to do so over the API."""
    engine = dialect.create_engine(server.settings.cluster_urls["default"], 1)
    plain = sa.select(users.c.role_id).where(users.c.id == server.demo.user_id).scalar_subquery()
    with engine.begin() as connection:
        connection.execute(sa.update(users).where(users.c.id == user_id).values(role_id=plain))
    engine.dispose()
