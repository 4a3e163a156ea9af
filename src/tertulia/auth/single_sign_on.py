"""Single sign-on: a person whom an identity provider vouches for becomes, or is, a user with the role of their groups.

The page's way is a code with a proof of the key (RFC 7636). The nonce and the verifier of a sign-in leave this server
as one sealed text alone, which the page keeps: so nothing is stored for those who never come back.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from pydantic import validate_email
from pydantic_core import PydanticCustomError
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.auth.id_tokens import Identity, SignInRefused
from tertulia.auth.secrets import SecretBox, WrongSecretKey
from tertulia.errors import NotFound
from tertulia.settings import IdentityProvider
from tertulia.storage import identity as identities
from tertulia.storage import organization as organizations
from tertulia.storage import role as roles
from tertulia.storage import user as users
from tertulia.storage.user import NewUser

LIFE = timedelta(minutes=10)
"""The time that a person may take at their provider."""


class BegunSignIn(msgspec.Struct, frozen=True):
    """A sign-in of the page that has begun."""

    org_id: str
    issuer: str
    state: str
    nonce: str
    verifier: str
    expires_at: datetime


_read_begun = msgspec.json.Decoder(BegunSignIn).decode


@dataclass(frozen=True, slots=True)
class Admission:
    """A user who was signed in: whether they were made for it, and their role before, if it was another one."""

    user_id: str
    is_new: bool
    role_id: str
    former_role_id: str


# --- The way of the page ---------------------------------------------------------------------------------------------


def begin(org_id: str, provider: IdentityProvider) -> BegunSignIn:
    """Begin a sign-in. Return it."""
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    return BegunSignIn(org_id, provider.issuer, state, nonce, verifier, clock.now() + LIFE)


def parameters_of(begun: BegunSignIn, provider: IdentityProvider) -> dict[str, str]:
    """Collect what the provider is asked. Return the parameters of an authorization request."""
    challenge = hashlib.sha256(begun.verifier.encode()).digest()
    return {
        "response_type": "code",
        "client_id": provider.client_id,
        "redirect_uri": provider.redirect_uri,
        "scope": " ".join(provider.scopes),
        "state": begun.state,
        "nonce": begun.nonce,
        "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }


def seal(begun: BegunSignIn, secret_box: SecretBox) -> str:
    """Seal a sign-in for the page. Return a text that only this installation reads."""
    return _box(secret_box).encrypt(msgspec.json.encode(begun).decode())


def unseal(sealed: str, state: str, org_id: str, provider: IdentityProvider, secret_box: SecretBox) -> BegunSignIn:
    """Open what the page has kept, for the state that has come back. Return the sign-in.

    Raises:
        SignInRefused: it is another one's, too old, or no sealed sign-in.
    """
    try:
        begun = _read_begun(_box(secret_box).decrypt(sealed))
    except (WrongSecretKey, ValueError) as error:
        raise SignInRefused("what the page has kept was not sealed here") from error
    if (begun.org_id, begun.issuer) != (org_id, provider.issuer):
        raise SignInRefused("the sign-in was begun for another organization or provider")
    if not hmac.compare_digest(begun.state.encode(), state.encode("utf-8", "surrogatepass")):
        raise SignInRefused("the state is not that of this sign-in")
    if begun.expires_at <= clock.now():
        raise SignInRefused("the sign-in has taken too long")
    return begun


def _box(secret_box: SecretBox) -> SecretBox:
    return SecretBox(secret_box.derive("single sign-on").hex())


# --- Users and roles -------------------------------------------------------------------------------------------------


def admit(
    connection: Connection, org_id: str, provider: IdentityProvider, identity: Identity, uses: Mapping[str, datetime]
) -> Admission:
    """Sign in the person whom a provider vouches for, as a user with the role of their groups. Return it.

    `uses` are hashes of what signs them in, once, each with its end.

    Raises:
        SignInRefused: something was used before, or the settings do not let the person in.
        Conflict: the person is being signed in elsewhere.
    """
    for use_hash, expires_at in uses.items():
        if not identities.use_once(connection, org_id, use_hash, expires_at):
            raise SignInRefused("the token or the sign-in was used before")
    role_name = next((role for group, role in provider.roles.items() if group in identity.groups), "")
    role_name = role_name or provider.default_role
    if provider.roles and not role_name:
        raise SignInRefused("none of the person's groups has a role")
    try:
        role = roles.hold_role(connection, org_id, role_name) if role_name else None
        user_id, is_new = _find_or_make(connection, org_id, provider, identity, role)
        user = users.lock_user(connection, org_id, user_id)
    except NotFound as error:
        raise SignInRefused(f"the role of the settings or the user is not there: {error.detail}") from error
    if role is None or not provider.roles or role.id == user.role_id:
        return Admission(user_id, is_new, user.role_id, user.role_id)
    users.give_role(connection, user, role.id)
    return Admission(user_id, is_new, role.id, user.role_id)


def _find_or_make(
    connection: Connection, org_id: str, provider: IdentityProvider, identity: Identity, role: roles.Role | None
) -> tuple[str, bool]:
    """Find the user of a person, or make one. Return their id, and True if they are new."""
    user_id = identities.find_identified_user(connection, org_id, provider.issuer, identity.subject)
    if user_id is not None:
        return user_id, False
    if not identity.email or not identity.is_email_verified:
        raise SignInRefused("the person is not known yet, and the provider has not verified their address")
    user_id = users.find_user_id(connection, org_id, identity.email)
    is_new = user_id is None
    if user_id is None:
        user_id = _make(connection, org_id, provider, identity, role)
    elif identities.find_subject(connection, user_id, provider.issuer) is not None:
        raise SignInRefused("the address is that of a user whom the provider knows by another subject")
    identities.insert_identity(connection, org_id, user_id, provider.issuer, identity.subject)
    users.verify_user(connection, user_id)
    return user_id, is_new


def _make(
    connection: Connection, org_id: str, provider: IdentityProvider, identity: Identity, role: roles.Role | None
) -> str:
    """Make a user of a person whom nobody has invited, if the settings say so. Return their id."""
    if not provider.make_users or role is None:
        raise SignInRefused("nobody has invited the person")
    if not _is_address(identity.email):
        raise SignInRefused("the person's address is none")
    new = NewUser(
        role_id=role.id,
        first_name=identity.first_name,
        last_name=identity.last_name,
        email=identity.email,
        preferences=organizations.get_organization(connection, org_id).default_user_preferences,
        nonsensitive_variables={},
        sensitive_variables={},
    )
    return users.insert_user(connection, org_id, new)


def _is_address(email: str) -> bool:
    try:
        return validate_email(email)[1] == email and "=?" not in email
    except PydanticCustomError:
        return False
