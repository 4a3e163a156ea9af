"""The credentials of a request: a token, in one of three places.

Authorization: Bearer TOKEN
Authorization: Basic ORGANIZATION_USER:TOKEN                         (base64)
Sec-WebSocket-Protocol: bearer.authorization.amigo.ai.TOKEN          (from browsers, whose WebSockets have no headers)

`X-ORG-ID` names the organization that issued the token; it may be left out.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from tertulia.auth.tokens import Claims, Tokens
from tertulia.errors import Unauthorized

SUBPROTOCOL = "bearer.authorization.amigo.ai."


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token, and its user and issuer as far as the request names them."""

    token: str
    username: str | None = None
    issuer: str | None = None


def read(headers: Mapping[str, str]) -> Credentials | None:
    """Read the credentials in a request's headers, whose names are in lower case. Return them, or None."""
    issuer = headers.get("x-org-id")
    authorization = headers.get("authorization")
    if authorization is None:
        token = _of_subprotocols(headers.get("sec-websocket-protocol", ""))
        return None if token is None else Credentials(token, issuer=issuer)
    scheme, _, value = authorization.strip().partition(" ")
    match scheme.lower():
        case "bearer":
            return Credentials(value.strip(), issuer=issuer)
        case "basic":
            username, token = _of_basic(value.strip())
            return Credentials(token, username, issuer)
        case _:
            return Credentials("", issuer=issuer)


async def authenticate(tokens: Tokens, credentials: Credentials | None) -> Claims:
    """Verify credentials. Return the claims of their token.

    Raises:
        Unauthorized: there are no credentials, or they are not valid, or contradict themselves.
    """
    if credentials is None:
        raise Unauthorized("Credentials are missing: send `Authorization: Bearer TOKEN`.")
    claims = await tokens.verify(credentials.token)
    if credentials.username not in {None, f"{claims.org_id}_{claims.user_id}"}:
        raise Unauthorized("The token is another user's than the username says.")
    if credentials.issuer not in {None, claims.org_id}:
        raise Unauthorized("The token was issued by another organization than X-ORG-ID says.")
    return claims


def _of_basic(value: str) -> tuple[str, str]:
    try:
        username, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return username, password


def _of_subprotocols(value: str) -> str | None:
    offered = (protocol.strip() for protocol in value.split(","))
    return next((item.removeprefix(SUBPROTOCOL) for item in offered if item.startswith(SUBPROTOCOL)), None)
