"""Connections to vendors' servers: each way in which an answer may be framed, broken or late."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

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

    assert await first_to_connect([hang, refuse, connect]) is winner  # pyright: ignore[reportArgumentType]
    await asyncio.wait_for(cancelled.wait(), 5)
    assert not winner.closed
    with pytest.raises(ConnectionRefusedError):
        await first_to_connect([refuse, refuse])  # pyright: ignore[reportArgumentType]
    with pytest.raises(OSError, match="no address"):
        await first_to_connect([])
