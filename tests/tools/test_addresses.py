"""Nothing but public addresses, and those that the operator lists, is ever connected to."""

import asyncio
import socket
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tertulia.settings import ToolSettings
from tertulia.tools.addresses import AddressRefused, AddressRules, Connector, HostUnreachable, host_of, is_public


def words(text: str) -> list[str]:
    return text.split()


NOT_PUBLIC = words("""
    0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.254 168.63.129.16 169.254.169.254
    172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.255.255
    198.51.100.1 203.0.113.5 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
    :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 ::ffff:10.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1
    64:ff9b::a9fe:a9fe 64:ff9b::10.1.2.3 64:ff9b:1::8.8.8.8 100::1 100:0:0:1::1 2001::80ff:fffe 2001:2::1 2001:10::1
    2001:20::1 2001:db8::1 2002:7f00:1:: 2002:808:808::1 3fff::1 5f00::1 fc00::1 fd00::1 fd00:ec2::254 fd20:ce::254
    fe80::1 fec0::1 ff02::1 ff0e::1 2600::5efe:127.0.0.1 2600::200:5efe:a00:1
""")
PUBLIC = words("""
    1.1.1.1 8.8.8.8 9.255.255.255 100.63.255.255 100.128.0.1 168.63.129.17 172.15.0.1 172.32.0.1 192.0.1.1 192.169.0.1
    223.255.255.254 2606:4700::1111 2001:4860:4860::8888 2a00:1450:4001::200e ::ffff:8.8.8.8 64:ff9b::8.8.8.8
""")
NOT_HOSTS = [
    *("2130706433", "0x7f000001", "0177.0.0.1", "127.1", "127.0.1", "0x7f.0.0.1", "127.0.0.0x1", "1.2.3.4.5", "0"),
    *("fe80::1%lo", "fe80::1%1", "::1%25", "[::1%lo]", "a b", "a/b", "a@b", "", ".", "a..b", "-\n", "\0", "a" * 300),
    *("\uff11\uff12\uff17.1", "host%2e", "127.0.0.1 ", "a,b", "*", "é" * 100, "[", "[]", "]"),
]  # fmt: skip

v4 = st.integers(0, 2**32 - 1).map(IPv4Address)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused(address: str):
    assert not is_public(ip_address(address))
    assert not AddressRules().permit(ip_address(address), 443)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_reached(address: str):
    assert AddressRules().permit(ip_address(address), 443)


@given(v4)
def test_no_address_is_more_public_in_another_coat(address: IPv4Address):
    public = is_public(address)
    assert not public or (address.is_global and not address.is_multicast and not address.is_reserved)
    assert is_public(ip_address(f"::ffff:{address}")) is public
    assert is_public(ip_address(f"64:ff9b::{address}")) is public
    for prefix in ("::", "64:ff9b:1::", "2001::", "fe80::5efe:", "2a00::5efe:"):
        assert not is_public(ip_address(f"{prefix}{address}"))
    assert not is_public(IPv6Address((0x2002 << 112) | (int(address) << 80)))
    assert not is_public(IPv6Address((0x20010000 << 96) | (int(address) ^ 0xFFFFFFFF)))


@given(st.integers(0, 2**128 - 1).map(IPv6Address))
def test_no_address_is_public_that_python_knows_as_private(address: IPv6Address):
    assert not is_public(address) or (address.is_global and not address.is_multicast) or address.ipv4_mapped


@pytest.mark.parametrize("host", NOT_HOSTS)
def test_odd_notations_zones_and_nonsense_are_no_hosts(host: str):
    with pytest.raises(AddressRefused):
        host_of(host)


@given(st.text(max_size=40))
def test_any_text_is_a_host_or_refused(text: str):
    host = None
    with suppress(AddressRefused):
        host = host_of(text)
    assert not isinstance(host, str) or (host.isascii() and not host.rpartition(".")[2].isdigit())


def test_an_exemption_holds_for_what_it_names_alone():
    rules = AddressRules.parse(["127.0.0.1:8080", "10.0.0.0/8", "[fd00::1]:80", "fd01::/16", "Weather.Internal.:81"])
    for address, port, permitted in [
        ("127.0.0.1", 8080, True),
        ("::ffff:127.0.0.1", 8080, True),
        ("127.0.0.1", 80, False),
        ("127.0.0.2", 8080, False),
        ("10.200.0.1", 5, True),
        ("fd00::1", 80, True),
        ("fd00::1", 81, False),
        ("fd01::5", 81, True),
        ("::1", 8080, False),
    ]:
        assert rules.permit(ip_address(address), port) is permitted, address
    assert rules.permit_name("weather.internal", 81)
    assert not rules.permit_name("weather.internal", 80)
    assert not rules.permit_name("a.weather.internal", 81)


GOOD = ["10.0.0.0/8", "10.0.0.1/8", "::1", "[::1]", "[::1]:1", "localhost:65535", "a_b.c-d.example", "fd00::/8"]
BAD = [
    "",
    "127.1",
    "1.2.3.4:0",
    "1.2.3.4:65536",
    "1.2.3.4/33",
    "a b",
    "http://a",
    "a:b",
    "[::1",
    "*",
    "a/8",
    "1.2.3.4.5",
]


@pytest.mark.parametrize("entry", [*GOOD, *BAD])
def test_the_setting_takes_what_can_be_an_exemption(entry: str):
    if entry in GOOD:
        assert ToolSettings(allow=(entry,)).allow == (entry,)
        assert AddressRules.parse([entry])
    else:
        with pytest.raises(ValidationError, match="write addresses as"):
            ToolSettings(allow=(entry,))
        with pytest.raises(ValueError, match="is n"):
            AddressRules.parse([entry])


# --- Connecting ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def listening() -> AsyncGenerator[int]:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def answers(*rounds: Sequence[str]) -> Callable[[str, int], Sequence[str]]:
    """Make a name server that answers differently each time."""
    left = list(rounds)
    return lambda _name, _port: left.pop(0)


async def test_a_socket_is_connected_to_an_address_that_was_judged():
    async with listening() as port:
        connector = Connector(AddressRules.parse([f"127.0.0.1:{port}"]), answers(["10.0.0.1", "::1", "127.0.0.1"]))
        with await connector.connect("mixed.example", port) as made:
            assert made.getpeername() == ("127.0.0.1", port)
            assert made.getblocking() is False
        connector.close()


async def test_a_name_that_answers_otherwise_the_second_time_reaches_nothing():
    asked: list[str] = []

    def lookup(name: str, _port: int) -> Sequence[str]:
        asked.append(name)
        return ["8.8.8.8"] if len(asked) == 1 else ["127.0.0.1"]

    async with listening() as port:
        connector = Connector(AddressRules(), lookup)
        assert await connector.resolve("rebinding.example", port) == (ip_address("8.8.8.8"),)
        with pytest.raises(AddressRefused):
            await connector.connect("rebinding.example", port)
        connector.close()
    assert asked == ["rebinding.example", "rebinding.example"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "::1", "[::ffff:127.0.0.1]", *NOT_HOSTS])
async def test_the_machine_itself_is_not_reached_by_any_name(host: str):
    async with listening() as port:
        connector = Connector(AddressRules())
        with pytest.raises(AddressRefused) as refusal:
            await connector.connect(host, port)
        connector.close()
    assert "10." not in str(refusal.value).replace(host, "")


async def test_a_name_that_the_operator_lists_is_reached_wherever_it_leads():
    async with listening() as port:
        connector = Connector(AddressRules.parse(["weather.internal"]), answers(["127.0.0.1"]))
        with await connector.connect("Weather.Internal", port) as made:
            assert made.getpeername()[1] == port
        connector.close()


async def test_hosts_without_an_address_or_a_listener_are_told_apart_from_refused_ones():
    def lookup(_name: str, _port: int) -> Sequence[str]:
        raise socket.gaierror(-2, "Name or service not known")

    connector = Connector(AddressRules.parse(["127.0.0.1"]), lookup)
    with pytest.raises(HostUnreachable, match="has no address"):
        await connector.connect("nowhere.example", 80)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(HostUnreachable, match="does not take connections"):
            await connector.connect("127.0.0.1", closed.getsockname()[1])
    for port in (0, -1, 65536):
        with pytest.raises(AddressRefused, match="not a port"):
            await connector.connect("127.0.0.1", port)
    connector.close()


async def test_a_name_server_that_hangs_is_given_up():
    released = asyncio.Event()
    loop = asyncio.get_running_loop()

    def lookup(_name: str, _port: int) -> Sequence[str]:
        asyncio.run_coroutine_threadsafe(released.wait(), loop).result()
        return []

    connector = Connector(AddressRules(), lookup)
    with pytest.raises(HostUnreachable, match="in time"):
        await connector.connect("slow.example", 80, timeout_s=0.05)
    released.set()
    connector.close()
