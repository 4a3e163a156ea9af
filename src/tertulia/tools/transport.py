"""HTTP over judged connections: names, certificates and `Host` stay those of the URL, the address is a judged one.

Proxies of the environment are not used: a proxy would look names up again, and reach what this server may not.
"""

import ssl
from collections.abc import Iterable
from typing import cast

import httpcore2
import httpx2

from tertulia.tools.addresses import CONNECT_S, Connector

_KEPT = 50
_KEPT_S = 5.0


class JudgedTransport(httpx2.AsyncHTTPTransport):
    """A pool of connections that a `Connector` permits. Certificates are verified."""

    def __init__(self, connector: Connector, certificates: ssl.SSLContext | None = None) -> None:
        verified = certificates or httpx2.create_ssl_context()
        super().__init__(verify=verified, trust_env=False)
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=verified,
            max_connections=None,
            max_keepalive_connections=_KEPT,
            keepalive_expiry=_KEPT_S,
            network_backend=_JudgedBackend(connector),
        )


class _JudgedBackend(httpcore2.AsyncNetworkBackend):
    """The way from the name of a host to a connection with one of its judged addresses."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._network = cast("httpcore2.AsyncNetworkBackend", httpcore2.AnyIOBackend())

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the name is httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        limit_s = min(CONNECT_S, timeout or CONNECT_S)
        failure: Exception | None = None
        for address in await self._connector.resolve(host, port, limit_s):
            try:
                return await self._network.connect_tcp(str(address), port, limit_s, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore2.ConnectError(host)

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)
