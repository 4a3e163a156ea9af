"""The address of a client behind proxies: what trusted ones have told, and nothing that a client could have made up."""

from typing import Any

import pytest
from starlette.requests import HTTPConnection

from tertulia.api.http.client_address import TrustedProxies, limited_address
from tertulia.settings import ProxyHeader

PROXIES = ("10.0.0.0/8", "127.0.0.1", "fd00::/8")


def seen(header: ProxyHeader, peer: str, *lines: tuple[str, str], kind: str = "http") -> tuple[str, str]:
    """The client's address and the scheme, of a request that a peer has brought with these headers."""
    headers = [(name.encode(), value.encode("latin-1")) for name, value in lines]
    scope: dict[str, Any] = {
        "type": kind,
        "client": (peer, 1234),
        "headers": headers,
        "scheme": "http" if kind == "http" else "ws",
    }
    TrustedProxies(PROXIES, header).tell(scope)
    return scope["client"][0], scope["scheme"]


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        pytest.param("10.1.2.3", ["203.0.113.7"], "203.0.113.7", id="a proxy tells its client"),
        pytest.param("10.1.2.3", ["203.0.113.7:4711"], "203.0.113.7", id="with a port"),
        pytest.param("10.1.2.3", ["2001:db8::7"], "2001:db8::7", id="IPv6"),
        pytest.param("10.1.2.3", ["[2001:db8::7]:4711"], "2001:db8::7", id="IPv6 with a port"),
        pytest.param("::ffff:10.1.2.3", ["::ffff:203.0.113.7"], "203.0.113.7", id="IPv4 in IPv6"),
        pytest.param("fd00::1", ["203.0.113.7"], "203.0.113.7", id="a proxy on IPv6"),
        pytest.param("10.1.2.3", ["198.51.100.1, 203.0.113.7"], "203.0.113.7", id="a client made one up"),
        pytest.param("10.1.2.3", ["198.51.100.1", "203.0.113.7"], "203.0.113.7", id="in a line of its own"),
        pytest.param("10.1.2.3", ["10.9.9.9, 203.0.113.7, 10.0.0.1"], "203.0.113.7", id="a proxy behind a proxy"),
        pytest.param("10.1.2.3", ["10.9.9.9, 10.0.0.1"], "10.9.9.9", id="a client within"),
        pytest.param("203.0.113.7", ["198.51.100.1"], "203.0.113.7", id="nobody trusted"),
        pytest.param("127.0.0.2", ["198.51.100.1"], "127.0.0.2", id="a neighbour of one who is"),
        pytest.param("10.1.2.3", [], "10.1.2.3", id="nothing told"),
        pytest.param("10.1.2.3", [""], "10.1.2.3", id="empty"),
        pytest.param("10.1.2.3", ["198.51.100.1, unknown"], "10.1.2.3", id="unknown"),
        pytest.param("10.1.2.3", ["198.51.100.1, 10.0.0.1, "], "10.1.2.3", id="an empty hop"),
        pytest.param("10.1.2.3", ["fe80::1%eth0"], "10.1.2.3", id="a zone"),
        pytest.param("10.1.2.3", ["127.1"], "10.1.2.3", id="half an address"),
        pytest.param("10.1.2.3", ["' OR 1=1 --"], "10.1.2.3", id="no address"),
        pytest.param("10.1.2.3", [", ".join(["10.0.0.1"] * 5000)], "10.0.0.1", id="five thousand hops"),
        pytest.param("testclient", ["198.51.100.1"], "testclient", id="a peer without an address"),
    ],
)
def test_the_right_most_address_that_is_not_trusted_is_the_clients(peer: str, lines: list[str], client: str) -> None:
    assert seen("x-forwarded-for", peer, *[("x-forwarded-for", line) for line in lines])[0] == client


@pytest.mark.parametrize(
    ("line", "client", "scheme"),
    [
        ("for=203.0.113.7", "203.0.113.7", "http"),
        ('For="[2001:db8::7]:4711";proto=https', "2001:db8::7", "https"),
        ("for=198.51.100.1, for=203.0.113.7;proto=https;by=10.0.0.1", "203.0.113.7", "https"),
        ('for=198.51.100.1;x="a, for=198.51.100.2", for=203.0.113.7', "203.0.113.7", "http"),
        ('for="203.0.113.7:80" ; host=x, for=10.0.0.1', "203.0.113.7", "http"),
        ('for=203.0.113.7;by="a, \\"b", for=10.0.0.1', "203.0.113.7", "http"),
        ('for=198.51.100.1;proto=https;x="a, for=203.0.113.7', "203.0.113.7", "http"),
        ('for="198.51.100.1, for="[2001:db8::7]"', "2001:db8::7", "http"),
        ('x="\\, for=203.0.113.7, for=10.0.0.1;proto=https', "203.0.113.7", "https"),
        ("for=_hidden", "10.1.2.3", "http"),
        ("for=unknown, for=10.0.0.1", "10.0.0.1", "http"),
        ('for="203.0.113.7', "10.1.2.3", "http"),
        ("by=203.0.113.7", "10.1.2.3", "http"),
        ("proto=javascript;for=203.0.113.7", "203.0.113.7", "http"),
    ],
)
def test_the_header_of_the_standard_is_read_as_it_defines(line: str, client: str, scheme: str) -> None:
    assert seen("forwarded", "10.1.2.3", ("forwarded", line)) == (client, scheme)


def test_the_header_that_is_not_the_proxies_own_is_the_clients_and_not_read() -> None:
    theirs, made_up = ("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=198.51.100.1;proto=https")

    assert seen("x-forwarded-for", "10.1.2.3", made_up, theirs) == ("203.0.113.7", "http")
    assert seen("forwarded", "10.1.2.3", ("x-forwarded-for", "198.51.100.1"), ("x-forwarded-proto", "https")) == (
        "10.1.2.3",
        "http",
    )


@pytest.mark.parametrize(
    ("told", "http", "live"), [("https", "https", "wss"), ("http", "http", "ws"), ("x", "http", "ws")]
)
def test_the_scheme_is_told_too(told: str, http: str, live: str) -> None:
    lines = ("x-forwarded-proto", told), ("x-forwarded-for", "203.0.113.7")

    assert seen("x-forwarded-for", "10.1.2.3", *lines)[1] == http
    assert seen("x-forwarded-for", "10.1.2.3", *lines, kind="websocket")[1] == live
    assert seen("x-forwarded-for", "203.0.113.1", *lines)[1] == "http"


def test_a_host_that_changes_its_own_part_of_an_address_is_one_client() -> None:
    def counted(peer: str) -> str:
        return limited_address(HTTPConnection({"type": "http", "client": (peer, 1), "headers": []}))

    assert counted("2001:db8:0:1::1") == counted("2001:db8:0:1:ffff::2") != counted("2001:db8:0:2::1")
    assert counted("203.0.113.7") == counted("::ffff:203.0.113.7") != counted("203.0.113.8")
