"""Bearer tokens: JWTs signed with HS256 by a key of the installation, which they name (`kid`).

The newest key signs. Rotation is one more key: an older one verifies until the last of its tokens has expired.
"""

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import jwt
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.auth.secrets import SecretBox
from tertulia.errors import Unauthorized
from tertulia.storage import signing_key
from tertulia.storage.database.units import Database

LIFETIME = timedelta(hours=1)
"""How long a token is good for."""

FRESH_S = 60.0
"""For how long the keys that were read are used, in seconds: so late, at most, a process signs with a new key."""

BETWEEN_RELOADS_S = 1.0
"""However many tokens name a key that nobody knows, the keys are read no more often than this, in seconds."""

REMEMBERED = 10_000
"""Verified tokens that are remembered at most."""

_ALGORITHM = "HS256"
_REFUSED = "The token is not valid."
_EXPIRED = "The token has expired: sign in again."
_LONG_AGO = float("-inf")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says."""

    org_id: str
    user_id: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key, and until when its tokens are accepted (`None`: it is the newest)."""

    kid: str
    secret: str
    retires_at: datetime | None


class Tokens:
    """Issues and verifies tokens, with the keys of the default cluster."""

    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box
        self._keys: dict[str, SigningKey] = {}
        self._read_at = _LONG_AGO
        self._reading = asyncio.Lock()
        self._verified: OrderedDict[str, Claims] = OrderedDict()

    async def issue(self, org_id: str, user_id: str) -> tuple[str, datetime]:
        """A token for a user, and when it expires."""
        await self._refresh(FRESH_S)
        if not self._keys:  # made a moment ago
            await self._refresh(BETWEEN_RELOADS_S)
        key = next(reversed(self._keys.values()))
        issued_at = clock.now().replace(microsecond=0)
        expires_at = issued_at + LIFETIME
        claims = {"sub": user_id, "org": org_id, "iat": issued_at, "exp": expires_at}
        return jwt.encode(claims, key.secret, _ALGORITHM, headers={"kid": key.kid}), expires_at

    async def verify(self, token: str) -> Claims:
        """What a token says.

        Raises:
            Unauthorized: it is not one of ours, or has expired.
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
            kid = jwt.get_unverified_header(token).get("kid", "")
        except jwt.InvalidTokenError as error:
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
            rows = await self._database.read(signing_key.list_signing_keys)
            self._keys = {key.kid: key for key in _open(rows, self._box)}
            self._verified.clear()  # a key may have been taken away
            self._read_at = time.monotonic()


def add_signing_key(connection: Connection, box: SecretBox) -> None:
    """Rotate: from now on a new key signs.

    Raises:
        WrongSecretKey: the others could not read the new key.
    """
    _open(signing_key.list_signing_keys(connection), box)
    signing_key.insert_signing_key(connection, secrets.token_hex(8), box.encrypt(secrets.token_urlsafe(32)))


def ensure_signing_key(connection: Connection, box: SecretBox) -> None:
    """Make the first signing key, if there is none.

    Raises:
        WrongSecretKey: there are some, of another secret key.
    """
    if not _open(signing_key.list_signing_keys(connection), box):
        add_signing_key(connection, box)


def _open(rows: Sequence[signing_key.SigningKey], box: SecretBox) -> list[SigningKey]:
    grace = LIFETIME + timedelta(seconds=FRESH_S)
    ends = [newer.created_at + grace for _, newer in pairwise(rows)]
    return [
        SigningKey(row.kid, box.decrypt(row.encrypted_secret), end)
        for row, end in zip(rows, [*ends, None][: len(rows)], strict=True)
    ]


def _read(token: str, key: SigningKey) -> Claims:
    try:
        claims = jwt.decode(
            token,
            key.secret,
            algorithms=[_ALGORITHM],
            # Another host's clock may be ahead; when a token ends is what matters.
            options={"require": ["exp", "org", "sub"], "verify_iat": False},
        )
        return Claims(str(claims["org"]), claims["sub"], datetime.fromtimestamp(claims["exp"], UTC))
    except jwt.ExpiredSignatureError as error:
        raise Unauthorized(_EXPIRED) from error
    except jwt.InvalidTokenError as error:
        raise Unauthorized(_REFUSED) from error
