"""The rules that changes of users share."""

from sqlalchemy.engine import Connection

from tertulia.auth import grants
from tertulia.auth.actor import Actor
from tertulia.errors import Forbidden
from tertulia.storage import role as roles
from tertulia.storage.user import User


def refuse_higher_rank(connection: Connection, actor: Actor, user: User) -> None:
    """Raise Forbidden if a user outranks the caller."""
    role = roles.get_role(connection, user.org_id, user.role_name)
    if actor.is_outranked_by(grants.parse(role.permission_grants)):
        raise Forbidden("This user outranks you.")
