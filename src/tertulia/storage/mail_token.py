"""Tokens that a mail brings, each good for one sign-in. Of each, only a hash is stored."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.storage.tables import mail_tokens


def insert_mail_token(connection: Connection, org_id: str, user_id: str, token_hash: str, expires_at: datetime) -> None:
    """Store a token of a user."""
    row = {"token_hash": token_hash, "org_id": org_id, "user_id": user_id, "expires_at": expires_at}
    connection.execute(sa.insert(mail_tokens), row)


def take_mail_token(connection: Connection, org_id: str, token_hash: str) -> str | None:
    """Use a token up. Return the id of its user, or None if it is unknown, used or past its time."""
    table = mail_tokens.c
    this = table.token_hash == token_hash, table.org_id == org_id, table.expires_at > clock.now()
    return connection.execute(sa.delete(mail_tokens).where(*this).returning(table.user_id)).scalar()


def forget_mail_tokens(connection: Connection, user_id: str) -> None:
    """Void the tokens of a user."""
    connection.execute(sa.delete(mail_tokens).where(mail_tokens.c.user_id == user_id))


def purge_mail_tokens(connection: Connection) -> None:
    """Remove the tokens that are past their time."""
    connection.execute(sa.delete(mail_tokens).where(mail_tokens.c.expires_at <= clock.now()))
