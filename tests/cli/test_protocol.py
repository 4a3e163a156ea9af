"""What a connection may send before it has said who it is."""

import socket
import threading
from collections.abc import Iterator

import pytest
import uvicorn

from tertulia.cli import protocol
from tertulia.cli.protocol import HEAD_BYTES, BoundedProtocol

PATIENCE_S = 20


async def hello(_scope: object, _receive: object, send: uvicorn._types.ASGISendCallable) -> None:  # type: ignore[name-defined]
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(protocol, "HEAD_S", 0.3)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(hello, http=BoundedProtocol, lifespan="off", log_config=None))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join(PATIENCE_S)


def answers(address: tuple[str, int], *parts: bytes) -> bytes:
    """Everything that a connection gets until the server closes it."""
    with socket.create_connection(address, PATIENCE_S) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except OSError:
                break
        received = b""
        try:
            while data := connection.recv(65536):
                received += data
        except ConnectionResetError:
            pass
        return received


def test_a_head_without_end_is_refused(address: tuple[str, int]) -> None:
    head = b"GET / HTTP/1.1\r\nhost: x\r\nx-long: "
    assert b" 431 " in answers(address, head, *[b"x" * 1024] * (HEAD_BYTES // 1024 + 1))


def test_a_head_that_does_not_come_is_not_waited_for(address: tuple[str, int]) -> None:
    assert answers(address) == b""
    assert answers(address, b"GET / HTTP/1.1\r\nhost:") == b""


def test_requests_on_one_connection_are_answered(address: tuple[str, int]) -> None:
    request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
    last = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    assert answers(address, request, request, last).count(b"hello") == 3
