"""The address of a client, although proxies stand before the server: as the proxies that are trusted have told it.

One header is read and no other, for a proxy passes on what it does not know as the client has sent it.
"""

import re
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.types import Scope

from tertulia.caching import cached_if_short
from tertulia.settings import ProxyHeader

Address = IPv4Address | IPv6Address

_PAIR = re.compile(r"""\s*([!#$%&'*+.^_`|~\w-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s";,]*))\s*""", re.ASCII)
"""A pair of `Forwarded`, RFC 7239, section 4."""

_ELEMENTS_BACKWARDS = re.compile(r"""(?:[^",]|"(?:"\\|[^"])*"?)+""")
"""Elements of `Forwarded`, read from the end: an open quote of a client changes nothing behind it."""

_PAIRS = re.compile(r"""(?:[^";]|"(?:[^"\\]|\\.)*"?)+""")
_WITH_PORT = re.compile(r"\[([^\[\]]+)\](?::\d{1,5})?|([\d.]+):\d{1,5}", re.ASCII)

MOST_HOPS = 50
"""The nearest hops that are looked at."""

OF_ONE_CLIENT = 64
"""The bits of an IPv6 address that a client does not choose: a host has the others to itself."""


class TrustedProxies:
    """The networks whose connections bring requests of others, and the header in which they say whose."""

    def __init__(self, networks: Sequence[str], header: ProxyHeader) -> None:
        self._networks: tuple[IPv4Network | IPv6Network, ...] = tuple(ip_network(each) for each in networks)
        self._header = header

    def tell(self, scope: Scope) -> None:
        """Put the address of the client, and the scheme that it used, into a request's scope."""
        peer = _parse(scope["client"][0]) if self._networks and scope.get("client") else None
        if peer is None or not self._trusts(peer):
            return
        headers = Headers(scope=scope)
        lines = headers.getlist(self._header)
        if self._header == "forwarded":
            nearest = [found[::-1] for line in reversed(lines) for found in _ELEMENTS_BACKWARDS.findall(line[::-1])]
            hops = [_pairs(element) for element in reversed(nearest[:MOST_HOPS])]
            addresses, schemes = [hop.get("for", "") for hop in hops], [hop.get("proto", "") for hop in hops]
        else:
            addresses = ",".join(lines).split(",")[-MOST_HOPS:] if lines else []
            schemes = ",".join(headers.getlist("x-forwarded-proto")).split(",")
        found = self._farthest(peer, addresses)
        if found != peer:
            scope["client"] = (str(found), 0)
        scheme = schemes[-1].strip().lower() if schemes else ""
        if scheme in {"http", "https", "ws", "wss"}:
            secure = scheme in {"https", "wss"}
            scope["scheme"] = ("wss" if secure else "ws") if scope["type"] == "websocket" else _HTTP[secure]

    def _farthest(self, peer: Address, told: Iterable[str]) -> Address:
        """Go from a trusted peer back from proxy to proxy. Return the first address that is not trusted, or the last.

        A part that is no address ends the search: the proxy that wrote it did not know its peer.
        """
        found = peer
        for text in reversed([*told]):
            address = _parse(text)
            if address is None:
                break
            found = address
            if not self._trusts(address):
                break
        return found

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


_HTTP = ("http", "https")


@cached_if_short(1024)
def _parse(text: str) -> Address | None:
    """Read an address, with or without a port. Return it, or None if it is none."""
    text = text.strip().strip('"')
    with_port = _WITH_PORT.fullmatch(text)
    if with_port is not None:
        text = with_port[1] or with_port[2]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        return address.ipv4_mapped or address
    return address


def _pairs(element: str) -> dict[str, str]:
    pairs = [found for each in _PAIRS.findall(element) if (found := _PAIR.fullmatch(each))]
    return {pair[1].lower(): re.sub(r"\\(.)", r"\1", pair[2]) if pair[2] is not None else pair[3] for pair in pairs}


def limited_address(connection: HTTPConnection) -> str:
    """Find the address that a client's requests are counted for. Return it; of IPv6, the network of one host."""
    host = connection.client.host if connection.client else ""
    address = _parse(host)
    if isinstance(address, IPv6Address):
        return str(IPv6Network((address, OF_ONE_CLIENT), strict=False))
    return host if address is None else str(address)
