"""ID tokens of OpenID Connect: their signatures and claims are verified here, without a network or a clock.

Sources: OpenID Connect Core 1.0, sections 2 and 3.1.3.7; RFC 7517 and 7518 (keys); RFC 8725 (best current practice).
"""

import hashlib
import hmac
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

SKEW_S = 60.0
"""Seconds that the provider's clock may be ahead or behind."""

LONGEST_LIFE = timedelta(days=30)
"""The longest time that an ID token may still be good for: so long, its use is remembered."""

MOST_KEYS = 100
"""Keys of a provider; what it has beyond is ignored."""

_ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
"""The algorithms that are accepted, by the type and the curve of their keys: none by which a client could sign."""

_PUBLIC = ("kty", "crv", "n", "e", "x", "y")
_RSA_BITS = range(2048, 8193)
_LONGEST_SUBJECT = 255  # OpenID Connect Core 1.0, section 2
_LONGEST_NAME = 256
_LONGEST_EMAIL = 320
_LONGEST_TOKEN = 50_000


class SignInRefused(Exception):
    """A sign-in that is refused. `reason` is for our log alone, and holds nothing of a token."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class UnknownKey(SignInRefused):
    """An ID token that names a key which is not among the provider's, as far as they are known."""


@dataclass(frozen=True, slots=True)
class ProviderKey:
    """A public key, and the one algorithm that it is good for."""

    kid: str | None
    algorithm: str
    key: jwt.PyJWK


@dataclass(frozen=True, slots=True)
class Expected:
    """The expectations of an ID token. Without a nonce, the token was not asked for by this server."""

    issuer: str
    client_id: str
    groups_claim: str
    nonce: str | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """A person, as an ID token describes them. `fingerprint` is the token's, and the same however it is written."""

    subject: str
    email: str
    is_email_verified: bool
    groups: frozenset[str]
    first_name: str
    last_name: str
    fingerprint: str
    expires_at: datetime


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None


class _Required(msgspec.Struct):
    iss: str
    sub: str
    aud: str | list[str]
    exp: float
    iat: float
    nbf: float | None = None
    azp: str | None = None
    nonce: str | None = None


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


msgspec.json.Decoder(_Header)  # msgspec learns a type before threads have it
_read_required = msgspec.json.Decoder(_Required).decode
_read_key_set = msgspec.json.Decoder(_KeySet).decode


def read_keys(document: bytes) -> tuple[ProviderKey, ...]:
    """Read the keys of a provider's JWK set. Return those that can be used; others are ignored, as RFC 7517 wants.

    Raises:
        ValueError: the document is no JWK set.
    """
    listed = _read_key_set(document).keys[:MOST_KEYS]
    return tuple(key for key in map(_read_key, listed) if key is not None)


def _read_key(described: Mapping[str, Any]) -> ProviderKey | None:
    kind, curve, kid = described.get("kty"), described.get("crv"), described.get("kid")
    try:
        algorithm = _ALGORITHMS.get((cast("str", kind), cast("str", None if kind == "RSA" else curve)))
    except TypeError:  # a value that is no text
        return None
    if algorithm is None or described.get("alg", algorithm) != algorithm or described.get("use", "sig") != "sig":
        return None
    try:  # the private part of a key, if there is one, is not wanted
        key = jwt.PyJWK({name: described[name] for name in _PUBLIC if name in described}, algorithm)
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if isinstance(key.key, RSAPublicKey) and key.key.key_size not in _RSA_BITS:
        return None
    return ProviderKey(kid if isinstance(kid, str) else None, algorithm, key)


def verify(token: str, keys: tuple[ProviderKey, ...], expected: Expected, now: datetime) -> Identity:
    """Verify an ID token. Return whom it describes.

    Raises:
        UnknownKey: it names a key that is not among these.
        SignInRefused: it is not good, for another reason.
    """
    payload = _verified_payload(token, keys)
    try:
        claims = _read_required(payload)
        described = msgspec.json.decode(payload, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError) as error:
        raise SignInRefused("a claim is missing or of another type") from error
    _check_parties(claims, expected)
    _check_times(claims, now.timestamp())
    if not 1 <= len(claims.sub) <= _LONGEST_SUBJECT or not claims.sub.isprintable():
        raise SignInRefused("the subject is not a name of 1 to 255 characters")
    first_name, last_name = _names(described)
    return Identity(
        subject=claims.sub,
        email=_email(described.get("email")),
        is_email_verified=described.get("email_verified") is True,
        groups=_groups(described.get(expected.groups_claim)),
        first_name=first_name,
        last_name=last_name,
        fingerprint=hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest(),
        expires_at=datetime.fromtimestamp(claims.exp + SKEW_S, UTC),
    )


def _verified_payload(token: str, keys: tuple[ProviderKey, ...]) -> bytes:
    """Verify the signature of a token with the key that it names. Return its payload."""
    try:
        if len(token) > _LONGEST_TOKEN:
            raise SignInRefused("the token is too long")
        header = msgspec.convert(jwt.get_unverified_header(token), _Header)
    except (jwt.PyJWTError, msgspec.MsgspecError, ValueError) as error:
        raise SignInRefused("it is not a signed token") from error
    if header.alg not in _ALGORITHMS.values():
        raise SignInRefused("the algorithm is not one of RS256, ES256 and EdDSA")
    named = [key for key in keys if header.kid is None or key.kid == header.kid]
    if not named:
        raise UnknownKey("the token names a key that the provider does not have")
    fitting = [key for key in named if key.algorithm == header.alg]
    if len(fitting) != 1:
        raise SignInRefused("the token does not name one key of its algorithm")
    try:
        decoded = jwt.PyJWS().decode_complete(token, fitting[0].key, algorithms=[header.alg])
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise SignInRefused("the signature is not the provider's") from error
    return cast("bytes", decoded["payload"])


def _check_parties(claims: _Required, expected: Expected) -> None:
    if claims.iss != expected.issuer:
        raise SignInRefused("the token is of another issuer")
    audience = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    if expected.client_id not in audience:
        raise SignInRefused("the token is for another client")
    if claims.azp is not None and claims.azp != expected.client_id:
        raise SignInRefused("the token was given to another client")
    if len(audience) > 1 and claims.azp is None:
        raise SignInRefused("the token is for several clients, and does not say to which it was given")
    if expected.nonce is not None and not hmac.compare_digest(_bytes(claims.nonce or ""), _bytes(expected.nonce)):
        raise SignInRefused("the nonce is not that of this sign-in")


def _check_times(claims: _Required, now: float) -> None:
    if claims.exp <= now - SKEW_S:
        raise SignInRefused("the token has expired")
    if claims.exp > now + LONGEST_LIFE.total_seconds():
        raise SignInRefused("the token is good for too long")
    if max(claims.iat, claims.nbf or 0) > now + SKEW_S:
        raise SignInRefused("the token is of the future")


def _groups(claim: object) -> frozenset[str]:
    listed = cast("list[object]", claim) if isinstance(claim, list) else [claim]
    return frozenset(group for group in listed if isinstance(group, str))


def _names(claims: Mapping[str, Any]) -> tuple[str, str]:
    """Find the first and the last name of a person. Return them, made of the other claims if they are not there."""
    first, last = (_text(claims, name, _LONGEST_NAME) for name in ("given_name", "family_name"))
    whole = _text(claims, "name", _LONGEST_NAME) or _text(claims, "email", _LONGEST_NAME).partition("@")[0]
    head, _, tail = whole.partition(" ")
    return first or head or "-", last or ("" if first else tail.strip()) or "-"


def _text(claims: Mapping[str, Any], name: str, longest: int) -> str:
    found = claims.get(name)
    if not isinstance(found, str):
        return ""
    return "".join(character for character in found if character.isprintable()).strip()[:longest]


def _email(claim: object) -> str:
    """Read an address, in lower case. Return "" for none, and for one that could be taken for another.

    Nothing is taken out of it, and it has no characters that are forms of others: the Kelvin sign in lower case is a k.
    """
    if not isinstance(claim, str) or len(claim) > _LONGEST_EMAIL or not claim.isprintable() or " " in claim:
        return ""
    return claim.lower() if unicodedata.normalize("NFKC", claim) == claim else ""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
