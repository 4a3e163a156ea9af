"""Links to conversations: a token of 256 random bits, of which only a hash is stored, in the fragment of an address."""

import hashlib
import secrets
from datetime import datetime

from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.auth.actor import Actor, Actors
from tertulia.auth.permissions import Permission
from tertulia.auth.tokens import Claims
from tertulia.errors import Forbidden, NotFound, Unauthorized
from tertulia.ids import new_id
from tertulia.storage import share as shares
from tertulia.storage.conversation import Conversation, get_conversation
from tertulia.storage.share import Share

REFUSED = "This link does not hold, or does not hold any more."


def make_link(
    connection: Connection, actor: Actor, conversation_id: str, message_id: str | None, expires_at: datetime
) -> tuple[Share, str]:
    """Make a link to a conversation, or to a message of it. Return it with its token, which nobody can read again."""
    token = secrets.token_urlsafe(32)
    made = Share(new_id(), actor.org_id, conversation_id, message_id, actor.user_id, clock.now(), expires_at)
    shares.insert_share(connection, made, _hash(token))
    return made, token


def open_link(connection: Connection, actors: Actors, org_id: str, token: str) -> tuple[Share, Actor, Conversation]:
    """Open a link as whoever made it, with the permissions that they have now. Return it, them, and the conversation.

    Raises:
        NotFound: there is no such link, or its end has come, or who made it may not share the conversation any more.
    """
    found = shares.find_share(connection, org_id, _hash(token))
    if found is None:
        raise NotFound(REFUSED)
    try:
        maker = actors.load(connection, Claims(org_id, found.user_id, found.expires_at))
        conversation = get_conversation(connection, org_id, found.conversation_id)
        require_share(maker, conversation)
    except (Forbidden, NotFound, Unauthorized) as error:
        raise NotFound(REFUSED) from error
    return found, maker, conversation


def require_share(actor: Actor, conversation: Conversation) -> None:
    """Raise Forbidden unless a caller may see a conversation, and show it to others."""
    actor.require(Permission.CONVERSATION_SHARE_CONVERSATION, conversation.attributes)
    actor.require(Permission.CONVERSATION_GET_CONVERSATION, conversation.attributes)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
