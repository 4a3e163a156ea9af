"""Sign-in by mail: a token of 256 random bits, good once and for a quarter of an hour, that only a mail has.

A request leaves a job behind, whoever it names; the job looks the user up. So the answer and its time tell nothing.
"""

import hashlib
import secrets
from datetime import timedelta

from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.errors import Unauthorized
from tertulia.storage import mail_token as mail_tokens
from tertulia.storage import user as users

LIFE = timedelta(minutes=15)
"""The time for which a token is good."""

FRAGMENT = "sign_in_token"
"""The name of the token in the fragment of a link, which browsers send to no server."""


def make_token(connection: Connection, org_id: str, email: str) -> str | None:
    """Make a token for the user with an address. Return it, or None if there is no such user."""
    user_id = users.find_user_id(connection, org_id, email)
    if user_id is None:
        return None
    token = secrets.token_urlsafe(32)
    mail_tokens.insert_mail_token(connection, org_id, user_id, _hash(token), clock.now() + LIFE)
    return token


def use_token(connection: Connection, org_id: str, token: str) -> str:
    """Sign in with a token, once; others that were sent to the user are void from then on. Return the user's id.

    Raises:
        Unauthorized: the token is unknown, of another organization, past its time, or was used.
    """
    user_id = mail_tokens.take_mail_token(connection, org_id, _hash(token))
    if user_id is None or users.find_role_of(connection, org_id, user_id) is None:
        raise Unauthorized("The link has been used, or is too old: ask for another one.")
    mail_tokens.forget_mail_tokens(connection, user_id)
    users.verify_user(connection, user_id)
    return user_id


def link_with(link: str, token: str) -> str:
    """Put a token into the fragment of a link. Return the link."""
    joint = "&" if "#" in link else "#"
    return f"{link}{joint}{FRAGMENT}={token}"


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
