"""What a connection may send before it has said who it is."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import uvicorn

from support.frames import handshake
from tertulia.serving import protocol
from tertulia.serving.protocol import HEAD_BYTES, BoundedProtocol, BoundedWebSocket

PATIENCE_S = 20


async def hello(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] != "websocket.disconnect":
            if "text" in message:
                await send({"type": "websocket.send", "text": f"{len(message['text'])}"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"hello"})


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    monkeypatch.setattr(protocol, "HEAD_S", 0.3)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(hello, http=BoundedProtocol, ws=BoundedWebSocket, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
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


# --- WebSockets ------------------------------------------------------------------------------------------------------


def frame(opcode: int, body: bytes = b"", *, final: bool = True) -> bytes:
    """A client's frame of less than 126 bytes (RFC 6455, section 5.2), masked with zeros."""
    return bytes([0x80 * final | opcode, 0x80 | len(body)]) + bytes(4) + body


PING, TEXT, MORE = frame(9, bytes(125)), frame(1, b"a", final=False), frame(0, final=False)


@pytest.fixture
def opened(address: tuple[str, int]) -> Iterator[tuple[socket.socket, Any]]:
    """A WebSocket, and what is received from it."""
    with socket.create_connection(address, PATIENCE_S) as connection, connection.makefile("rb") as received:
        connection.sendall(handshake("/", "x", ""))
        while received.readline().strip():
            pass
        yield connection, received


@pytest.mark.parametrize(("first", "others"), [(PING, PING), (TEXT, MORE)], ids=["pings", "empty frames"])
def test_who_sends_frames_without_end_and_reads_nothing_is_cut_off(
    opened: tuple[socket.socket, Any], first: bytes, others: bytes
) -> None:
    connection, _ = opened
    connection.sendall(first)
    with suppress(ConnectionError):
        for _ in range(2000):
            connection.sendall(others * 100)
        assert connection.recv(1) == b""


def test_who_reads_pongs_may_ping_on_and_send_a_message_in_many_frames(opened: tuple[socket.socket, Any]) -> None:
    connection, received = opened
    for _ in range(200):
        connection.sendall(PING * 50)
        assert received.read(50 * (2 + 125)).count(b"\x8a") == 50
    connection.sendall(TEXT + frame(0, b"b", final=False) * 1000 + frame(0))
    assert received.read(6) == b"\x81\x041001"
