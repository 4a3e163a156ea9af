"""People as identity providers know them, and what has signed somebody in once and may not again."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from tertulia import clock
from tertulia.errors import Conflict
from tertulia.ids import new_id
from tertulia.storage.tables import identities, used_sign_ins


def find_identified_user(connection: Connection, org_id: str, issuer: str, subject: str) -> str | None:
    """Look for the user whom a provider knows by a subject. Return their id, or None."""
    this = identities.c.org_id == org_id, identities.c.issuer == issuer, identities.c.subject == subject
    return connection.execute(sa.select(identities.c.user_id).where(*this)).scalar()


def find_subject(connection: Connection, user_id: str, issuer: str) -> str | None:
    """Look for the subject by which a provider knows a user. Return it, or None."""
    this = identities.c.user_id == user_id, identities.c.issuer == issuer
    return connection.execute(sa.select(identities.c.subject).where(*this)).scalar()


def insert_identity(connection: Connection, org_id: str, user_id: str, issuer: str, subject: str) -> None:
    """Store that a provider knows a user by a subject.

    Raises:
        Conflict: somebody else has stored another subject of the user, or another user of the subject, meanwhile.
    """
    row = {"id": new_id(), "org_id": org_id, "user_id": user_id, "issuer": issuer, "subject": subject}
    try:
        connection.execute(sa.insert(identities), {**row, "created_at": clock.now()})
    except IntegrityError as error:
        raise Conflict("The user is signing in elsewhere at this moment: try again.") from error


def use_once(connection: Connection, org_id: str, use_hash: str, expires_at: datetime) -> bool:
    """Note that something has signed somebody in. Return False if it had before."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    row = insert(used_sign_ins).values(hash=use_hash, org_id=org_id, expires_at=expires_at)
    made = row.on_conflict_do_nothing().returning(used_sign_ins.c.hash)
    return connection.execute(made).scalar() is not None


def purge_used_sign_ins(connection: Connection) -> None:
    """Forget the uses that could not be repeated any more."""
    connection.execute(sa.delete(used_sign_ins).where(used_sign_ins.c.expires_at <= clock.now()))
