"""Outgoing addresses: every connection to a host that a caller has named is judged, resolved and made here.

A name is looked up once, each answer is judged, and the connection goes to an address that was judged: a name that
answers otherwise the next time (DNS rebinding) reaches nothing. Public addresses may be reached, and those that the
operator lists. Networks that are not public are those of IANA's special-purpose registries
(https://www.iana.org/assignments/iana-ipv4-special-registry, iana-ipv6-special-registry), multicast, reserved space,
and addresses at which clouds serve their own secrets.
"""

import asyncio
import re
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

IPAddress = IPv4Address | IPv6Address
IPNetwork = IPv4Network | IPv6Network

CONNECT_S = 10.0
"""Seconds that a connection may take, its look-up included."""

_ADDRESS_S = 4.0
_MOST_ADDRESSES = 8
_LOOKUPS = 8
_LONGEST_HOST = 253
_SHOWN_CHARS = 100

_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_V6 = IPv6Network("2000::/3")
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})
_NOT_PUBLIC_V4 = (
    IPv4Network("0.0.0.0/8"),
    IPv4Network("10.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),  # carriers; Alibaba's metadata
    IPv4Network("127.0.0.0/8"),
    IPv4Network("168.63.129.16/32"),  # Azure's host
    IPv4Network("169.254.0.0/16"),  # metadata of most clouds
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.0.0.0/24"),  # IETF's own; Oracle's metadata
    IPv4Network("192.0.2.0/24"),
    IPv4Network("192.88.99.0/24"),  # relays of 6to4
    IPv4Network("192.168.0.0/16"),
    IPv4Network("198.18.0.0/15"),
    IPv4Network("198.51.100.0/24"),
    IPv4Network("203.0.113.0/24"),
    IPv4Network("224.0.0.0/4"),  # multicast
    IPv4Network("240.0.0.0/4"),  # reserved, and broadcast
)
_NOT_PUBLIC_V6 = (  # within 2000::/3
    IPv6Network("2001::/23"),  # IETF's own; Teredo, ORCHID
    IPv6Network("2001:db8::/32"),
    IPv6Network("2002::/16"),  # 6to4
    IPv6Network("3fff::/20"),
)

_ENTRY = re.compile(
    r"\[(?P<six>[^\[\]]+)\](:(?P<six_port>\d{1,5}))?|(?P<host>[^:\[\]]+)(:(?P<port>\d{1,5}))?|(?P<bare>[^\[\]]+)"
)
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.ASCII)
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*", re.ASCII)


class AddressRefused(PermissionError):
    """The refusal of an address. The text may be told to anyone: it holds nothing but what the caller has sent."""


class HostUnreachable(ConnectionError):
    """A host that has no address, or does not answer. The text may be told to anyone."""


def unwrapped(address: IPAddress) -> IPAddress:
    """Find out which address is reached in truth. Return the IPv4 address in a mapped or NAT64 one, else the same."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def is_public(address: IPAddress) -> bool:
    """Judge an address. Return True if it is one of the public internet."""
    reached = unwrapped(address)
    if isinstance(reached, IPv4Address):
        return not any(reached in network for network in _NOT_PUBLIC_V4)
    of_a_private_one = (int(reached) >> 32) & 0xFFFFFFFF in _ISATAP
    return (
        reached in _GLOBAL_V6
        and reached.scope_id is None
        and not of_a_private_one
        and not any(reached in network for network in _NOT_PUBLIC_V6)
    )


@dataclass(frozen=True, slots=True)
class _Exemption:
    """A network or a name that may be reached although it is not public, at one port or, without one, at all."""

    target: IPNetwork | str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> "_Exemption":
        found = _ENTRY.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not HOST, HOST:PORT, a network or NETWORK:PORT")
        port = found["six_port"] or found["port"]
        if port is not None and not 0 < int(port) < 1 << 16:
            raise ValueError(f"{text!r} has a port that is none")
        target = found["six"] or found["host"] or found["bare"]
        return cls(_target(target), int(port) if port else None)

    def holds(self, target: IPAddress | str, port: int) -> bool:
        if self.port not in {None, port}:
            return False
        if isinstance(self.target, str) or isinstance(target, str):
            return self.target == target
        return target in self.target


def _target(text: str) -> IPNetwork | str:
    name = text.lower().rstrip(".")
    try:
        return ip_network(name, strict=False)
    except ValueError as error:
        if _NAME.fullmatch(name) and not _ends_in_number(name):
            return name
        raise ValueError(f"{text!r} is neither a name nor an address, nor a network such as 10.0.0.0/8") from error


def _ends_in_number(host: str) -> bool:
    return _NUMBER.fullmatch(host.rpartition(".")[2]) is not None


@dataclass(frozen=True, slots=True)
class AddressRules:
    """The rules of which addresses may be reached: public ones, and exemptions that the operator lists."""

    exemptions: tuple[_Exemption, ...] = ()

    @classmethod
    def parse(cls, allowed: Iterable[str]) -> "AddressRules":
        """Read exemptions: `127.0.0.1:8080`, `10.0.0.0/8`, `[fd00::1]:80`, `fd00::/8`, `weather.internal:8080`.

        An exemption without a port holds for all. Return the rules.

        Raises:
            ValueError: one of them is none; names it.
        """
        return cls(tuple(map(_Exemption.parse, allowed)))

    def permit(self, address: IPAddress, port: int) -> bool:
        """Judge an address and a port. Return True if they may be reached."""
        return is_public(address) or self._exempt(unwrapped(address), port)

    def permit_name(self, name: str, port: int) -> bool:
        """Judge a name. Return True if the operator lists it: whatever addresses it has may be reached."""
        return self._exempt(name, port)

    def _exempt(self, target: IPAddress | str, port: int) -> bool:
        return any(exemption.holds(target, port) for exemption in self.exemptions)


def host_of(text: str) -> IPAddress | str:
    """Read the host of an address. Return it as an IP address, or as a name in lower case, in ASCII.

    Raises:
        AddressRefused: the text is no host, has a zone, or is an address in an odd notation (`127.1`, `0x7f.0.0.1`).
    """
    try:
        host = text.strip("[]") if text.startswith("[") else text
        host = (host if host.isascii() else host.encode("idna").decode()).lower().removesuffix(".")
    except UnicodeError:
        raise AddressRefused(f"{_shown(text)} is not a host.") from None
    with suppress(ValueError):
        if "%" not in host:
            return ip_address(host)
    if not _NAME.fullmatch(host) or len(host) > _LONGEST_HOST:
        raise AddressRefused(f"{_shown(text)} is not a host.")
    if _ends_in_number(host):
        raise AddressRefused(f"{_shown(text)} is not written as addresses are, with four numbers.")
    return host


def _shown(text: str) -> str:
    printable = "".join(character if character.isprintable() else "?" for character in text[:_SHOWN_CHARS])
    return f'"{printable}"'


Lookup = Callable[[str, int], Sequence[str]]
"""A look-up of a name: returns its addresses, and raises OSError if there are none."""


def look_up(name: str, port: int) -> list[str]:
    """Ask the system's resolver for a name. Return its addresses; a zone stands after `%`.

    Raises:
        OSError: it has none.
    """
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Connector:
    """The one way out: it resolves and judges hosts, and connects to what was judged.

    Names are looked up in threads of its own, so that a slow name server holds up nobody else's work.
    """

    def __init__(self, rules: AddressRules, lookup: Lookup = look_up) -> None:
        self._rules = rules
        self._lookup = lookup
        self._threads = ThreadPoolExecutor(_LOOKUPS, thread_name_prefix="look-up")

    def close(self) -> None:
        """Stop looking up names."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def resolve(self, host: str, port: int, timeout_s: float = CONNECT_S) -> tuple[IPAddress, ...]:
        """Look a host up and judge its addresses. Return those that may be reached, at least one.

        Raises:
            AddressRefused: none of them may be reached.
            HostUnreachable: there are none, or the name server does not answer in `timeout_s`.
        """
        if not 0 < port < 1 << 16:
            raise AddressRefused(f"{port} is not a port.")
        target = host_of(host)
        listed = isinstance(target, str) and self._rules.permit_name(target, port)
        addresses = await self._addresses(target, port, timeout_s)
        permitted = [address for address in addresses if listed or self._rules.permit(address, port)]
        if not permitted:
            raise AddressRefused(f"{_shown(host)} is not a public address, and this server's settings do not allow it.")
        return tuple(dict.fromkeys(permitted))[:_MOST_ADDRESSES]

    async def connect(self, host: str, port: int, timeout_s: float = CONNECT_S) -> socket.socket:
        """Connect to a host, at one of its judged addresses. Return the socket, connected and not blocking.

        Raises:
            AddressRefused: it may not be reached.
            HostUnreachable: it does not answer in `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                for address in await self.resolve(host, port, timeout_s):
                    with suppress(TimeoutError, ConnectionError, OSError):
                        async with asyncio.timeout(min(_ADDRESS_S, timeout_s)):
                            return await _connected(address, port)
        except TimeoutError:
            raise HostUnreachable(f"{_shown(host)} did not answer in time.") from None
        raise HostUnreachable(f"{_shown(host)} does not take connections at port {port}.")

    async def _addresses(self, target: IPAddress | str, port: int, timeout_s: float) -> list[IPAddress]:
        if not isinstance(target, str):
            return [target]
        try:
            async with asyncio.timeout(timeout_s):
                loop = asyncio.get_running_loop()
                found = await loop.run_in_executor(self._threads, self._lookup, target, port)
        except TimeoutError:
            raise HostUnreachable(f"{_shown(target)} could not be looked up in time.") from None
        except (OSError, UnicodeError):
            raise HostUnreachable(f"{_shown(target)} has no address.") from None
        return list(map(ip_address, found))


async def _connected(address: IPAddress, port: int) -> socket.socket:
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, (str(address), port))
    except BaseException:
        made.close()
        raise
    return made
