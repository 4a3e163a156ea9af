"""A vendor's HTTP API: the client of models and voices, and `Remote`, whose failures are of one kind of error."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.request import getproxies

import httpx2

from tertulia.errors import ModelError
from tertulia.providers.base import ProviderError
from tertulia.providers.transport import KEPT, KEPT_S, Transport

CONNECT_S = 10
"""Seconds that a connection may take to be made."""

MAX_ERROR_BYTES = 16 << 10
"""The part of a refusal's body that is read."""

_PROXIED = frozenset({"http", "https", "all"})
"""Names of proxies, any of which leaves the connections to httpx2's own transport."""

_DRAIN_S = 0.2
_MAX_ANSWER_BYTES = 8 << 20
_LOGGED_CHARS = 300
_READ_CHARS = 4096


def check_access(group: str, base_url: str, key: str) -> None:
    """Check the address and the key of a group of settings, whatever is behind them. Return if they can be that.

    A key that no header may hold would fail each request, with the key in the reason.

    Raises:
        ProviderError: one of them cannot be used; names its variable.
    """
    if not _is_address(base_url):
        raise ProviderError(f"TERTULIA_{group}_BASE_URL is not an http or https address.")
    if not (key.isascii() and key.isprintable()):
        raise ProviderError(f"TERTULIA_{group}_API_KEY has a line break in it, or another character that no key has.")


def _is_address(text: str) -> bool:
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL:
        return False
    return url.scheme in {"http", "https"} and bool(url.host) and (url.port is None or 0 < url.port < 1 << 16)


def open_client(base_url: str, headers: Mapping[str, str], stall_s: float) -> httpx2.AsyncClient:
    """Open a pool of connections to one server, which follows no redirects. Return its client.

    Raises:
        ProviderError: the proxy of the environment is none.
    """
    try:
        return httpx2.AsyncClient(
            base_url=base_url,
            headers={"Accept-Encoding": "identity", **headers},
            timeout=httpx2.Timeout(stall_s, connect=CONNECT_S, pool=CONNECT_S),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=KEPT, keepalive_expiry=KEPT_S),
            transport=None if _PROXIED & getproxies().keys() else Transport(),
            follow_redirects=False,
        )
    except (ValueError, ImportError):
        raise ProviderError("The proxy that HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names cannot be used.") from None


def loggable(text: str, secret: str = "") -> str:
    """Make a server's words fit for the log. Return a short line without the secret and control characters."""
    safe = text.replace(secret, "***") if secret else text
    printable = "".join(character if character.isprintable() else " " for character in safe[:_READ_CHARS])
    return " ".join(printable.split())[:_LOGGED_CHARS]


def shown_address(base_url: str) -> str:
    """Write an address without the user, the password and the query that it may have. Return that text."""
    try:
        url = httpx2.URL(base_url)
    except httpx2.InvalidURL:
        return "?"
    return str(url.copy_with(username="", password="", query=None, fragment=None)).rstrip("/")


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, whatever its status."""

    status: int
    body: bytes


class Remote:
    """Requests below the client's address. `failed` is all that is raised; `secret` is cut out of its reason.

    `stall_s` seconds without a byte are a failure.
    """

    def __init__(self, client: httpx2.AsyncClient, failed: type[ModelError], stall_s: float, secret: str = "") -> None:
        self._failed = failed
        self._client = client
        self._stall_s = stall_s
        self._secret = secret

    @asynccontextmanager
    async def stream(self, method: str, path: str, **content: Any) -> AsyncGenerator[httpx2.Response]:
        """Send a request. Return the response if the server has accepted it; its body can be read in the block."""
        async with self._ask(method, path, content) as response:
            if response.status_code != 200:
                raise self.refusal(Answer(response.status_code, await self._body(response, MAX_ERROR_BYTES)))
            yield response

    async def read(self, method: str, path: str, more_s: float = 0, **content: Any) -> Answer:
        """Send a request, whose first byte may take `more_s` seconds more than others. Return the whole answer."""
        async with self._ask(method, path, content, more_s) as response:
            body = await self._body(response, _MAX_ANSWER_BYTES)
        if len(body) > _MAX_ANSWER_BYTES:
            raise self.failure("the answer is too long")
        return Answer(response.status_code, body)

    def refusal(self, answer: Answer) -> ModelError:
        """Make an error of an answer that is none. Return it."""
        return self.failure(f"status {answer.status}: {answer.body.decode(errors='replace')}")

    def failure(self, reason: str) -> ModelError:
        """Make an error. Return one whose reason may be logged, whatever `reason` holds."""
        return self._failed(loggable(reason, self._secret))

    @asynccontextmanager
    async def _ask(
        self, method: str, path: str, content: Mapping[str, Any], more_s: float = 0
    ) -> AsyncGenerator[httpx2.Response]:
        response: httpx2.Response | None = None
        try:
            response = await self._send(method, path, content, self._stall_s + more_s)
            yield response
        except TimeoutError:
            raise self.failure(f"nothing in {self._stall_s} s") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise self.failure(f"{type(error).__name__}: {error}") from None
        finally:
            if response is not None:
                await response.aclose()

    async def _send(self, method: str, path: str, content: Mapping[str, Any], wait_s: float) -> httpx2.Response:
        timeout = httpx2.Timeout(wait_s, connect=CONNECT_S, pool=CONNECT_S)
        request = self._client.build_request(method, path, timeout=timeout, **content)
        try:
            async with asyncio.timeout(CONNECT_S + wait_s):
                return await self._client.send(request, stream=True)
        except (TimeoutError, httpx2.HTTPError):
            raise
        except Exception as error:  # a closed client, a proxy and sockets have kinds of their own
            raise self.failure(f"{type(error).__name__}: {error}") from error

    async def _body(self, response: httpx2.Response, most: int) -> bytes:
        """Read a body. Return it, or somewhat more than `most` bytes of it."""
        body = bytearray()
        async with asyncio.timeout(self._stall_s), aclosing(response.aiter_bytes()) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > most:
                    break
        return bytes(body)


async def drain(chunks: AsyncGenerator[bytes]) -> None:
    """Read the end of a response whose content has ended, so that its connection can be used again."""
    with suppress(TimeoutError, httpx2.HTTPError):
        async with asyncio.timeout(_DRAIN_S):
            async for _chunk in chunks:
                pass
