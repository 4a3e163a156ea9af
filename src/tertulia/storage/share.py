"""Links that show a conversation, or a message of it, to whoever has them. Of each token, only a hash is stored."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.errors import NotFound
from tertulia.storage.database.rows import columns, find_row, list_rows
from tertulia.storage.tables import shares


@dataclass(frozen=True, slots=True)
class Share:
    """A link; `user_id` is the person who made it, and as whom it is read. Without a message it shows all."""

    id: str
    org_id: str
    conversation_id: str
    message_id: str | None
    user_id: str
    created_at: datetime
    expires_at: datetime


_SHARE = sa.select(*columns(Share, shares))


def insert_share(connection: Connection, made: Share, token_hash: str) -> None:
    """Store a link with the hash of its token."""
    connection.execute(sa.insert(shares), {**asdict(made), "token_hash": token_hash})


def find_share(connection: Connection, org_id: str, token_hash: str) -> Share | None:
    """Find the link of a token. Return it, or None if there is none any more."""
    this = shares.c.token_hash == token_hash, shares.c.org_id == org_id, shares.c.expires_at > clock.now()
    return find_row(connection, _SHARE.where(*this), Share)


def list_shares(connection: Connection, conversation_id: str) -> Sequence[Share]:
    """List the links to a conversation that hold. Return them, the newest first."""
    these = shares.c.conversation_id == conversation_id, shares.c.expires_at > clock.now()
    return list_rows(connection, _SHARE.where(*these).order_by(shares.c.created_at.desc(), shares.c.id), Share)


def delete_share(connection: Connection, conversation_id: str, share_id: str) -> None:
    """Remove a link to a conversation.

    Raises:
        NotFound: there is none.
    """
    this = shares.c.id == share_id, shares.c.conversation_id == conversation_id
    if not connection.execute(sa.delete(shares).where(*this)).rowcount:
        raise NotFound(f"There is no link {share_id}.")


def purge_shares(connection: Connection) -> None:
    """Remove the links that are past their time."""
    connection.execute(sa.delete(shares).where(shares.c.expires_at <= clock.now()))
