"""Connections to vendors' servers: each way in which an answer may be framed, broken or late."""

import asyncio
import math
import socket
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tertulia.providers.http1 import Connection
from tertulia.providers.remote import open_client
from tertulia.providers.transport import first_to_connect

pytestmark = pytest.mark.anyio

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A server that gives the same bytes to each request, and then closes the connection if `closes`."""

    def __init__(self, *parts: bytes, closes: bool = False) -> None:
        self.parts, self.closes = parts, closes
        self.connections = 0
        self.heads: list[bytes] = []
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.left.clear()
        try:
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                for part in self.parts:
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0)
                if self.closes:
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.left.set()


@asynccontextmanager
async def listening(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncGenerator[str]:
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    finally:
        server.close()


async def get(url: str, stall_s: float = 5) -> bytes:
    async with open_client(url, {}, stall_s) as client:
        return (await client.get("/")).content


async def rounds(count: int) -> None:
    """Let everything that is ready go on, some times."""
    for _ in range(count):
        await asyncio.sleep(0)


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("parts", "closes"),
    [
        ([OK + b"Content-Length: 5\r\n\r\nHello"], False),
        ([OK + b"Content-Length: 5\r\n\r\nHe", b"llo"], False),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nHe\r\n3\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n"], False),
        ([b"HTTP/1.0 200 OK\r\n\r\nHello"], True),
        ([OK + b"Connection: close\r\n\r\nHello"], True),
        ([b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", OK + b"Content-Length: 5\r\n\r\nHello"], False),
        ([OK + b"Transfer-Encoding: identity\r\n\r\nHello"], True),
        ([bytes([byte]) for byte in OK + b"content-length: 5\r\n\r\nHello"], False),
    ],
)
async def test_a_body_is_whole_however_it_is_framed(parts: list[bytes], closes: bool):
    async with listening(Server(*parts, closes=closes).serve) as url:
        assert await get(url) == b"Hello"


async def test_an_answer_may_have_no_body():
    async with listening(Server(b"HTTP/1.1 204 No Content\r\n\r\n").serve) as url:
        assert await get(url) == b""


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", httpx2.RemoteProtocolError),
        (b"nonsense\r\n\r\n", httpx2.RemoteProtocolError),
        (OK[:9], httpx2.RemoteProtocolError),
        (OK + b"Content-Length: 5\r\n\r\nHell", httpx2.RemoteProtocolError),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nHello\r\n", httpx2.RemoteProtocolError),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nHello\r\n", httpx2.RemoteProtocolError),
        (OK + b"X: " + bytes(200_000).replace(b"\0", b"x") + b"\r\n\r\n", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", httpx2.RemoteProtocolError),
    ],
)
async def test_a_broken_answer_is_an_error(answer: bytes, error: type[Exception]):
    async with listening(Server(answer, closes=True).serve) as url:
        with pytest.raises(error):
            await get(url)


async def test_an_answer_to_head_has_no_body():
    server = Server(OK + b"Content-Length: 5\r\n\r\n")
    async with listening(server.serve) as url, open_client(url, {}, 0.5) as client:
        response = await client.head("/")
    assert (response.status_code, response.content, response.headers["Content-Length"]) == (200, b"", "5")


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        (OK + b"X: ", b"x" * 10_000),
        (OK, b"X: x\r\n" * 1000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2;x=", b"x" * 10_000),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nHi\r\n0\r\nX: ", b"x" * 10_000),
    ],
    ids=["a header", "headers", "1xx", "a frame", "a trailer"],
)
async def test_what_stands_around_a_body_has_an_end(begin: bytes, more: bytes):
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(begin)
        with suppress(ConnectionError):
            while sent < 20_000_000:
                writer.write(more)
                await writer.drain()
                sent += len(more)
                await asyncio.sleep(0)
        writer.close()

    async with listening(pour) as url:
        with pytest.raises(httpx2.RemoteProtocolError, match="too long"):
            await get(url)
    assert sent < 15_000_000


async def test_no_header_can_be_two():
    server = Server(OK + b"Content-Length: 2\r\n\r\nHi")
    async with listening(server.serve) as url, open_client(url, {}, 5) as client:
        for value in ("a\r\nX-Admin: yes", "a\nX-Admin: yes", "a\rb", "a\0b"):
            with pytest.raises(httpx2.LocalProtocolError):
                await client.get("/", headers={"X": value})
    assert server.heads == []


async def test_a_body_in_pieces_is_sent_whole():
    async def pieces() -> AsyncGenerator[bytes]:
        yield b"He"
        yield b"llo"

    server = Server(OK + b"Content-Length: 2\r\n\r\nHi", closes=True)
    async with listening(server.serve) as url, open_client(url, {}, 5) as client:
        await client.post("/", content=pieces())
    head = server.heads[0].lower()
    assert b"content-length: 5\r\n" in head
    assert b"transfer-encoding" not in head


async def test_silence_is_an_error_and_a_slow_reader_is_none():
    async with listening(Server(OK + b"Content-Length: 5\r\n\r\nHe").serve) as url:
        with pytest.raises(httpx2.ReadTimeout):
            await get(url, 0.02)
    async with (
        listening(Server(OK + b"Content-Length: 5\r\n\r\nHello").serve) as url,
        open_client(url, {}, 0.02) as client,
        client.stream("GET", "/") as response,
    ):
        await asyncio.sleep(0.05)
        assert await response.aread() == b"Hello"


@pytest.mark.parametrize(
    ("answer", "connections"),
    [
        (OK + b"Content-Length: 2\r\n\r\nHi", 1),
        (OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nHi", 3),
        (OK + b"Content-Length: 2\r\n\r\nHi and more", 3),
        (OK + b"Content-Length: 2\r\n\r\nHi" + OK + b"Content-Length: 5\r\n\r\n there", 3),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nHi\r\n0\r\nX-Sum: 1\r\n\r\n", 1),
    ],
)
async def test_a_connection_is_used_again_if_its_answer_was_whole(answer: bytes, connections: int):
    server = Server(answer)
    async with listening(server.serve) as url, open_client(url, {}, 5) as client:
        for _ in range(3):
            assert (await client.get("/")).content == b"Hi"
    assert server.connections == connections


async def test_a_connection_that_the_server_has_closed_is_not_used_again():
    server = Server(OK + b"Content-Length: 2\r\n\r\nHi", closes=True)
    async with listening(server.serve) as url, open_client(url, {}, 5) as client:
        for _ in range(3):
            assert (await client.get("/")).content == b"Hi"
            await asyncio.wait_for(server.left.wait(), 5)
            await rounds(5)
    assert server.connections == 3


async def connected() -> tuple[Connection, socket.socket]:
    """Return a connection, and the server's end of it."""
    near, far = socket.socketpair()
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(lambda: Connection((b"http", "vendor", 80)), sock=near)
    return connection, far


async def test_a_connection_is_not_used_again_if_its_end_is_there_and_nobody_has_seen_it():
    connection, far = await connected()
    assert connection.is_fresh(math.inf)
    far.close()
    assert not connection.is_fresh(math.inf)
    connection.close()


async def test_a_connection_that_is_closed_before_it_is_asked_holds_nobody_up():
    connection, far = await connected()
    far.close()
    await rounds(5)
    connection.ask(b"GET / HTTP/1.1\r\n\r\n", b"", None)
    with pytest.raises(httpx2.ConnectError):
        await asyncio.wait_for(connection.head(), 5)


async def test_a_connection_whose_request_was_answered_half_way_is_not_used_again():
    server = Server(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(*server.parts)
        await done.wait()
        writer.close()

    done = asyncio.Event()
    async with listening(refuse) as url, open_client(url, {}, 5) as client:
        for _ in range(2):
            assert (await client.post("/", content=bytes(30_000_000))).status_code == 413
        done.set()
    assert server.connections == 2


async def test_connections_that_nobody_has_used_for_long_are_closed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tertulia.providers.transport.KEPT_S", 0)
    server = Server(OK + b"Content-Length: 2\r\n\r\nHi")
    async with listening(server.serve) as url, open_client(url, {}, 5) as client:
        await asyncio.gather(client.get("/"), client.get("/"))
        await asyncio.wait_for(server.left.wait(), 5)
    assert server.connections == 2


async def test_a_client_that_is_closed_ends_no_body():
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"\r\nHe")
        with suppress(ConnectionError):
            await reader.read()
        writer.close()

    async with listening(hang) as url:
        client = open_client(url, {}, 5)
        async with client.stream("GET", "/") as response:
            chunks = response.aiter_raw()
            assert await anext(chunks) == b"He"
            await client.aclose()
            with pytest.raises(httpx2.ReadError):
                await anext(chunks)


async def test_a_reader_that_leaves_closes_the_connection():
    server = Server(OK + b"Content-Length: 1000000\r\n\r\nHi")
    async with listening(server.serve) as url, open_client(url, {}, 5) as client:
        async with client.stream("GET", "/"):
            pass
        await asyncio.wait_for(server.left.wait(), 5)


async def test_a_body_that_nobody_reads_is_not_taken_in():
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Content-Length: 30000000\r\n\r\n")
        for _ in range(30):
            writer.write(bytes(1_000_000))
            await writer.drain()
            sent += 1

    async with listening(pour) as url, open_client(url, {}, 5) as client, client.stream("GET", "/") as response:
        await rounds(200)
        before = sent
        assert len(await response.aread()) == 30_000_000
    assert before < 20


async def test_the_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch):
    proxy = Server(OK + b"Content-Length: 2\r\n\r\nHi")
    async with listening(proxy.serve) as url:
        monkeypatch.setenv("HTTP_PROXY", url)
        assert await get("http://vendor.example/v1") == b"Hi"
    assert proxy.heads[0].startswith(b"GET http://vendor.example/v1/ HTTP/1.1\r\n")


async def test_a_server_is_believed_by_its_certificate_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    certificate = _self_signed(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with listening(Server(OK + b"Content-Length: 2\r\n\r\nHi").serve, context) as url:
        with pytest.raises(httpx2.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await get(url)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert await get(url) == b"Hi"


def _self_signed(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "vendor")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    plain = serialization.NoEncryption()
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file


class Attempted:
    """A connection as far as a race needs one."""

    closed = False

    def close(self) -> None:
        self.closed = True


async def test_an_address_that_does_not_answer_holds_nobody_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tertulia.providers.transport.NEXT_ADDRESS_S", 0.01)
    winner, cancelled = Attempted(), asyncio.Event()

    async def hang() -> Attempted:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return Attempted()

    async def refuse() -> Attempted:
        raise ConnectionRefusedError("refused")

    async def connect() -> Attempted:
        return winner

    attempts: list[Any] = [hang, refuse, connect]
    assert await first_to_connect(attempts) is winner
    await asyncio.wait_for(cancelled.wait(), 5)
    assert not winner.closed
    with pytest.raises(ConnectionRefusedError):
        await first_to_connect(attempts[1:2] * 2)
    with pytest.raises(OSError, match="no address"):
        await first_to_connect([])
