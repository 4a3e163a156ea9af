"""Bearer tokens: JWTs signed with HS256 by a key of the installation, which they name (`kid`).

The newest key signs. Rotation is one more key: an older one verifies until the last of its tokens has expired.
"""

import asyncio
import base64
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Literal

import msgspec
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.auth.secrets import SecretBox
from tertulia.errors import Unauthorized
from tertulia.storage import signing_key as signing_keys
from tertulia.storage.database.units import Database

LIFETIME = timedelta(hours=1)
"""The lifetime of a token."""

FRESH_S = 60.0
"""The time that keys are used before they are read again, in seconds: so late, at most, a new key signs."""

BETWEEN_RELOADS_S = 1.0
"""The least time between two readings of the keys, in seconds, however many tokens name an unknown one."""

REMEMBERED = 10_000
"""The most verified tokens that are remembered."""

_ALGORITHM = "HS256"
_REFUSED = "The token is not valid."
_EXPIRED = "The token has expired: sign in again."
_LONG_AGO = float("-inf")


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a token: its user, its end, and the API key that it was got with, without which it is void."""

    org_id: str
    user_id: str
    expires_at: datetime
    key_id: str | None = None


@dataclass(frozen=True, slots=True)
class KeyInUse:
    """An API key that signs somebody in. A token does not outlive it."""

    key_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key, and the time until which its tokens are accepted; None for the newest."""

    kid: str
    secret: str
    retires_at: datetime | None


class Tokens:
    """Issues and verifies tokens, with the keys of the default cluster."""

    def __init__(self, database: Database, secret_box: SecretBox) -> None:
        self._database = database
        self._secret_box = secret_box
        self._keys: dict[str, SigningKey] = {}
        self._read_at = _LONG_AGO
        self._reading = asyncio.Lock()
        self._verified: OrderedDict[str, Claims] = OrderedDict()

    async def issue(self, org_id: str, user_id: str, by: KeyInUse | None = None) -> tuple[str, datetime]:
        """Issue a token for a user, got with an API key or otherwise. Return it, and the time of its end."""
        await self._refresh(FRESH_S)
        if not self._keys:  # made a moment ago
            await self._refresh(BETWEEN_RELOADS_S)
        key = next(reversed(self._keys.values()))
        issued_at = clock.now().replace(microsecond=0)
        expires_at = issued_at + LIFETIME
        claims: dict[str, object] = {"sub": user_id, "org": org_id, "iat": int(issued_at.timestamp())}
        if by is not None:
            expires_at = min(expires_at, by.expires_at.replace(microsecond=0))
            claims["key"] = by.key_id
        claims["exp"] = int(expires_at.timestamp())
        return _sign(claims, key), expires_at

    async def verify(self, token: str) -> Claims:
        """Verify a token. Return its claims.

        Raises:
            Unauthorized: the token is not one of ours, or has expired.
        """
        await self._refresh(FRESH_S)
        claims = self._verified.get(token)
        if claims is None:
            claims = _read(token, await self._key_of(token))
            self._remember(token, claims)
        if claims.expires_at <= clock.now():
            raise Unauthorized(_EXPIRED)
        return claims

    def _remember(self, token: str, claims: Claims) -> None:
        self._verified[token] = claims
        if len(self._verified) > REMEMBERED:
            self._verified.popitem(last=False)

    async def _key_of(self, token: str) -> SigningKey:
        try:
            kid = _read_header(_decoded(token.partition(".")[0])).kid
        except _UNREADABLE as error:
            raise Unauthorized(_REFUSED) from error
        if kid not in self._keys:
            await self._refresh(BETWEEN_RELOADS_S)
        key = self._keys.get(kid)
        if key is None:
            raise Unauthorized(_REFUSED)
        if key.retires_at is not None and key.retires_at <= clock.now():  # so has every token that it signed
            raise Unauthorized(_EXPIRED)
        return key

    async def _refresh(self, age_s: float) -> None:
        """Read the keys again if they are older than this, in seconds."""
        if time.monotonic() - self._read_at < age_s:
            return
        async with self._reading:
            if time.monotonic() - self._read_at < age_s:
                return
            rows = await self._database.read(signing_keys.list_signing_keys)
            self._keys = {key.kid: key for key in _open(rows, self._secret_box)}
            self._verified.clear()  # a key may have been taken away
            self._read_at = time.monotonic()


def add_signing_key(connection: Connection, secret_box: SecretBox) -> None:
    """Rotate the keys: from now on a new one signs.

    Raises:
        WrongSecretKey: the keys so far are of another secret key, whose processes could not read the new one.
    """
    _open(signing_keys.list_signing_keys(connection), secret_box)
    signing_keys.insert_signing_key(connection, secrets.token_hex(8), secret_box.encrypt(secrets.token_urlsafe(32)))


def ensure_signing_key(connection: Connection, secret_box: SecretBox) -> None:
    """Make the first signing key, if there is none.

    Raises:
        WrongSecretKey: there are signing keys, of another secret key.
    """
    if not _open(signing_keys.list_signing_keys(connection), secret_box):
        add_signing_key(connection, secret_box)


def _open(rows: Sequence[signing_keys.SigningKey], secret_box: SecretBox) -> list[SigningKey]:
    grace = LIFETIME + timedelta(seconds=FRESH_S)
    ends = [newer.created_at + grace for _, newer in pairwise(rows)]
    return [
        SigningKey(row.kid, secret_box.decrypt(row.encrypted_secret), end)
        for row, end in zip(rows, [*ends, None][: len(rows)], strict=True)
    ]


class _Header(msgspec.Struct):
    alg: Literal["HS256"]
    kid: str


class _Payload(msgspec.Struct):
    sub: str
    org: str
    exp: int
    key: str | None = None


_UNREADABLE = (ValueError, ArithmeticError, OSError, RecursionError, msgspec.MsgspecError)
"""Errors of a token that says nothing that can be read: JSON of any depth, and times that no clock has."""

_read_header = msgspec.json.Decoder(_Header).decode
_read_payload = msgspec.json.Decoder(_Payload).decode


def _sign(claims: Mapping[str, object], key: SigningKey) -> str:
    """Write a token, as PyJWT does in many times as long. Return it."""
    header = {"alg": _ALGORITHM, "kid": key.kid, "typ": "JWT"}
    signed = b".".join(_encoded(msgspec.json.encode(part)) for part in (header, claims))
    return b".".join((signed, _encoded(_digest(signed, key)))).decode()


def _digest(signed: bytes, key: SigningKey) -> bytes:
    return hmac.digest(key.secret.encode(), signed, "sha256")


def _read(token: str, key: SigningKey) -> Claims:
    """Verify the HMAC of a token. Return its claims, which may have expired.

    PyJWT needs many times as long, and each first request of a user waits for it. When the token was issued is not
    asked: another host's clock may be ahead.
    """
    signed, _, signature = token.rpartition(".")
    try:
        if not hmac.compare_digest(_encoded(_digest(signed.encode(), key)), signature.encode()):
            raise Unauthorized(_REFUSED)
        payload = _read_payload(_decoded(signed.partition(".")[2]))
    except _UNREADABLE as error:
        raise Unauthorized(_REFUSED) from error
    return Claims(payload.org, payload.sub, datetime.fromtimestamp(payload.exp, UTC), payload.key)


def _encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
