"""Identity providers over the network: their configuration and keys, which are kept for a while, and their codes.

Sources: OpenID Connect Discovery 1.0, section 4; RFC 6749, section 4.1 (codes); RFC 7636 (proof of the key).
"""

import asyncio
import base64
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import quote_plus, urlencode, urlsplit

import httpx2
import msgspec
import structlog

from tertulia import clock
from tertulia.auth import id_tokens
from tertulia.auth.id_tokens import Expected, Identity, ProviderKey, SignInRefused, UnknownKey
from tertulia.errors import Unavailable
from tertulia.settings import IdentityProvider, is_secure_url
from tertulia.tools.addresses import AddressRules, Connector

FRESH_S = 3600.0
"""The time that a configuration and keys are used before they are asked for again, in seconds."""

BETWEEN_KEYS_S = 60.0
"""The least time between two askings for keys because a token names an unknown one, in seconds."""

PATIENCE_S = 10.0
"""The time that one answer may take, in seconds."""

MOST_BYTES = 256_000
"""The longest answer of a provider."""

_log = structlog.get_logger(__name__)


class _Configuration(msgspec.Struct, frozen=True):
    """The part of a provider's metadata that is used."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    token_endpoint_auth_methods_supported: Sequence[str] = ("client_secret_basic",)


class _Answer(msgspec.Struct, frozen=True):
    id_token: str


class _Refusal(msgspec.Struct, frozen=True):
    error: str


_read_configuration = msgspec.json.Decoder(_Configuration).decode
_read_answer = msgspec.json.Decoder(_Answer).decode
_read_refusal = msgspec.json.Decoder(_Refusal).decode


class _NoAnswer(Exception):
    """The failure of a provider to answer as it should; the text is for our log."""


class Client:
    """A client of one identity provider. `now` is a clock that nobody sets, in seconds."""

    def __init__(
        self, provider: IdentityProvider, allowed: Sequence[str] = (), now: Callable[[], float] = time.monotonic
    ) -> None:
        self.provider = provider
        self._allowed = allowed
        self._now = now
        self._lock = asyncio.Lock()
        self._configuration: _Configuration | None = None
        self._keys: tuple[ProviderKey, ...] = ()
        self._fresh_until = self._failed_at = self._asked_for_key_at = float("-inf")

    async def authorization_url(self, parameters: Mapping[str, str]) -> str:
        """Make the address at which a person signs in. Return it.

        Raises:
            Unavailable: the provider does not answer as it should.
        """
        configuration = await self._load()
        joint = "&" if "?" in configuration.authorization_endpoint else "?"
        return f"{configuration.authorization_endpoint}{joint}{urlencode(parameters)}"

    async def read(self, id_token: str, nonce: str | None = None) -> Identity:
        """Verify an ID token with the keys of the provider. Return whom it describes.

        Raises:
            SignInRefused: it is not good.
            Unavailable: the provider does not answer as it should.
        """
        await self._load()
        provider = self.provider
        expected = Expected(provider.issuer, provider.client_id, provider.groups_claim, nonce)
        try:
            return id_tokens.verify(id_token, self._keys, expected, clock.now())
        except UnknownKey:
            await self._look_for_new_keys()
            return id_tokens.verify(id_token, self._keys, expected, clock.now())

    async def trade(self, code: str, verifier: str) -> str:
        """Trade a code for an ID token, which is still to be verified. Return it.

        Raises:
            SignInRefused: the provider does not take the code, or not from this client.
            Unavailable: the provider does not answer as it should.
        """
        configuration = await self._load()
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.provider.redirect_uri,
            "code_verifier": verifier,
        }
        headers = self._authenticate(form, configuration.token_endpoint_auth_methods_supported)
        try:
            status, body = await self._ask("POST", configuration.token_endpoint, data=form, headers=headers)
            if 400 <= status < 500 and status != 429:
                raise SignInRefused(f"the provider does not take the code ({_error_in(body)})")
            return _decode(status, body, _read_answer).id_token
        except _NoAnswer as failure:
            raise self._unavailable(failure) from failure

    async def aclose(self) -> None:
        """Close the connections."""
        if "_http" in self.__dict__:
            await self._http.aclose()
            self._connector.close()

    def _authenticate(self, form: dict[str, str], methods: Sequence[str]) -> dict[str, str]:
        """Have a request for a token say who asks, in its form or in headers. Return the headers."""
        client_id, secret = self.provider.client_id, self.provider.client_secret.get_secret_value()
        if secret and ("client_secret_basic" in methods or "client_secret_post" not in methods):
            pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
            return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
        form["client_id"] = client_id
        if secret:
            form["client_secret"] = secret
        return {}

    async def _load(self) -> _Configuration:
        """Ask for the configuration and the keys, unless they are fresh. Return the configuration."""
        asked_at = self._now()
        async with self._lock:
            if self._failed_at >= asked_at:  # while this one waited
                raise self._unavailable(None)
            if self._configuration is not None and self._now() < self._fresh_until:
                return self._configuration
            try:
                configuration = await self._find_configuration()
                self._keys = await self._find_keys(configuration)
            except _NoAnswer as failure:
                self._failed_at = self._now()
                raise self._unavailable(failure) from failure
            self._configuration = configuration
            self._fresh_until = self._now() + FRESH_S
            return configuration

    async def _look_for_new_keys(self) -> None:
        """Ask for the keys again, for one is not there; not if that was done within the last minute."""
        async with self._lock:
            if self._configuration is None or self._now() - self._asked_for_key_at < BETWEEN_KEYS_S:
                return
            self._asked_for_key_at = self._now()
            try:
                self._keys = await self._find_keys(self._configuration)
            except _NoAnswer as failure:
                raise self._unavailable(failure) from failure

    async def _find_configuration(self) -> _Configuration:
        address = self.provider.issuer.rstrip("/") + "/.well-known/openid-configuration"
        found = _decode(*await self._ask("GET", address), _read_configuration)
        if found.issuer != self.provider.issuer:
            raise _NoAnswer("the configuration is of another issuer")
        if not all(map(is_secure_url, (found.authorization_endpoint, found.token_endpoint, found.jwks_uri))):
            raise _NoAnswer("the configuration has an address that is not https://")
        return found

    async def _find_keys(self, configuration: _Configuration) -> tuple[ProviderKey, ...]:
        status, body = await self._ask("GET", configuration.jwks_uri)
        if status != 200:
            raise _NoAnswer(f"status {status}")
        try:
            return id_tokens.read_keys(body)
        except ValueError as error:
            raise _NoAnswer("its keys are no JWK set") from error

    async def _ask(self, method: str, url: str, **more: Any) -> tuple[int, bytes]:
        """Send a request. Return the status and the body of the answer, whose length and time are bounded."""
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", **more.pop("headers", {})}
        body = bytearray()
        try:
            async with (
                asyncio.timeout(PATIENCE_S),
                self._http.stream(method, url, headers=headers, **more) as answer,
            ):
                async for piece in answer.aiter_raw():
                    body += piece
                    if len(body) > MOST_BYTES:
                        raise _NoAnswer("an answer is too long")
                return answer.status_code, bytes(body)
        except (TimeoutError, OSError, httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise _NoAnswer(f"it cannot be reached ({type(error).__name__})") from error

    def _unavailable(self, failure: _NoAnswer | None) -> Unavailable:
        if failure is not None:
            _log.warning(
                "an identity provider does not answer as it should", issuer=self.provider.issuer, reason=str(failure)
            )
        return Unavailable("The identity provider does not answer as it should: try again later.", 5)

    @cached_property
    def _connector(self) -> Connector:
        """The way to public addresses, to the issuer's host, wherever the operator has it, and to those allowed."""
        parts = urlsplit(self.provider.issuer)
        host = parts.hostname or ""
        named = f"[{host}]" if ":" in host else host
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return Connector(AddressRules.parse([f"{named}:{port}", *self._allowed]))

    @cached_property
    def _http(self) -> httpx2.AsyncClient:
        from tertulia.tools.transport import JudgedTransport  # noqa: PLC0415 - with its packages

        return httpx2.AsyncClient(
            transport=JudgedTransport(self._connector), trust_env=False, follow_redirects=False, timeout=PATIENCE_S
        )


class IdentityProviders:
    """The identity providers of an installation, by organization; each is asked for nothing before it is needed."""

    def __init__(self, providers: Mapping[str, IdentityProvider], allowed: Sequence[str]) -> None:
        self._clients = {org_id: Client(provider, allowed) for org_id, provider in providers.items()}

    def find(self, org_id: str) -> Client | None:
        """Look for the provider of an organization. Return its client, or None."""
        return self._clients.get(org_id)

    def gives(self, org_id: str, role_name: str) -> bool:
        """Return True if sign-ins to an organization give the role of a name."""
        client = self._clients.get(org_id)
        return client is not None and role_name in {*client.provider.roles.values(), client.provider.default_role}

    async def aclose(self) -> None:
        """Close the connections to all of them."""
        for client in self._clients.values():
            await client.aclose()


T = TypeVar("T")


def _decode(status: int, body: bytes, read: Callable[[bytes], T]) -> T:
    if status != 200:
        raise _NoAnswer(f"status {status}")
    try:
        return read(body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise _NoAnswer("an answer lacks what it must have") from error


def _error_in(body: bytes) -> str:
    """Read the code of an error (RFC 6749, section 5.2). Return it, or "unknown" if there is none of that form."""
    try:
        code = _read_refusal(body).error
    except (msgspec.MsgspecError, ValueError):
        return "unknown"
    return code if code.isascii() and code.replace("_", "").isalpha() and len(code) < 60 else "unknown"
