"""Connections: as much as they may send, keep and leave unread, whoever they belong to."""

import json
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
import structlog
import uvicorn

from support.frames import handshake
from tertulia.serving.connections import Bounds, Connections
from tertulia.serving.server import configure

PATIENCE_S = 20
SHORT = Bounds(head_s=0.3, handshake_s=0.3, linger_s=0.3, linger_bytes=1 << 20, answer_stall_s=0.4, look_s=0.1)
HEAD_BYTES = SHORT.head_bytes
LONG_ANSWER = 8_000_000
GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
LAST = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"

Address = tuple[str, int]


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers on HTTP and on WebSockets."""
    await {"lifespan": live, "websocket": talk, "http": hello}[scope["type"]](scope, receive, send)


async def live(_scope: dict[str, Any], receive: Any, send: Any) -> None:
    for word in ("startup", "shutdown"):
        await receive()
        await send({"type": f"lifespan.{word}.complete"})


async def talk(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Tells the length of each message; below /slow it never accepts."""
    if scope["path"] != "/slow":
        await send({"type": "websocket.accept"})
    while (message := await receive())["type"] != "websocket.disconnect":
        if "text" in message:
            await send({"type": "websocket.send", "text": f"{len(message['text'])}"})


async def hello(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Says hello: after the body at /echo, in pieces at /stream; at /long it says much; at /head it begins at once."""
    if scope["path"] == "/head":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    more = scope["path"] in {"/echo", "/head"}
    while more:
        more = (await receive()).get("more_body", False)
    if scope["path"] == "/stream":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for piece in (b"he", b"llo"):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    if scope["path"] == "/head":
        await send({"type": "http.response.body", "body": b"hello"})
        return
    body = b"x" * LONG_ANSWER if scope["path"] == "/long" else b"hello"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def serving(bounds: Bounds) -> Generator[tuple[Address, Connections]]:
    """A server of `application`, and its register of connections."""
    connections = Connections(bounds)
    listener = socket.create_server(("127.0.0.1", 0))
    config = configure(application, connections)
    config.timeout_keep_alive = 1
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield listener.getsockname(), connections
    finally:
        server.should_exit = True
        thread.join(PATIENCE_S)


@pytest.fixture(autouse=True)
def _every_line_is_seen() -> None:
    """Forget the level of the log that a server of another file has set in this process."""
    structlog.reset_defaults()


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[Address, Connections]]:
    with serving(SHORT) as made:
        yield made


@pytest.fixture
def address(served: tuple[Address, Connections]) -> Iterator[Address]:
    """The module's server; afterwards it answers, and no connection is left."""
    address, connections = served
    yield address
    assert b"hello" in answers(address, LAST)
    until(lambda: len(connections) == 0)


def until(condition: Callable[[], bool]) -> None:
    """Wait for a server in another thread."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def answers(address: Address, *parts: bytes) -> bytes:
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


def statuses(received: bytes) -> list[int]:
    """The statuses of answers, which all are JSON of the API's form but for `hello`."""
    found: list[int] = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length"))
        body, received = rest[:length], rest[length:]
        assert body == b"hello" or set(json.loads(body)) == {"detail"}
        assert body == b"hello" or b"connection: close" in lines
        found.append(int(head.split()[1]))
    return found


def test_a_head_without_end_is_refused(address: Address) -> None:
    head = b"GET / HTTP/1.1\r\nhost: x\r\nx-long: "
    assert statuses(answers(address, head, *[b"x" * 1024] * (HEAD_BYTES // 1024 + 1))) == [431]


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n" + b"a: %s\r\n" % (b"x" * HEAD_BYTES) + b"\r\n",
        b"GET /%s HTTP/1.1\r\nhost: x\r\n\r\n" % (b"x" * HEAD_BYTES),
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 300 + b"\r\n",
        b"\r\n" * HEAD_BYTES,
    ],
    ids=["a field", "a target", "many fields", "empty lines"],
)
def test_a_head_that_is_too_large_is_refused_also_if_it_comes_at_once(address: Address, head: bytes) -> None:
    assert statuses(answers(address, head)) == [431]


def test_a_long_body_is_no_long_head(address: Address) -> None:
    body = b"x" * (5 * HEAD_BYTES)
    post = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    assert statuses(answers(address, post + body[:10], body[10:] + post, body + LAST)) == [200, 200, 200]


def test_a_head_that_does_not_come_is_not_waited_for(address: Address) -> None:
    assert answers(address) == b""
    assert statuses(answers(address, b"GET / HTTP/1.1\r\nhost:")) == [408]
    assert answers(address, b"\r\n") == b""
    assert statuses(answers(address, GET + b"\r\n")) == [200]
    assert statuses(answers(address, GET + b"GET")) == [200, 408]


@pytest.mark.parametrize(
    "nonsense",
    [b"nonsense\r\n\r\n", b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET x HTTP/1.1\r\n\r\n",
     b"CONNECT host:443 HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n",
     b"GET / HTTP/1.1\r\na\x00b: c\r\n\r\n", b"GET /\xff\xfe HTTP/1.1\r\nhost: x\r\n\r\n"],
)  # fmt: skip
def test_what_is_no_request_is_refused_in_json_and_one_line_of_the_log(address: Address, nonsense: bytes) -> None:
    with structlog.testing.capture_logs() as lines:
        assert statuses(answers(address, nonsense)) == [400]
    assert [line["event"] for line in lines] == ["connection refused"]


def test_a_request_before_nonsense_is_answered_first(address: Address) -> None:
    assert statuses(answers(address, GET + GET + b"nonsense\r\n\r\n")) == [200, 200, 400]


def test_requests_on_one_connection_are_answered(address: Address) -> None:
    assert answers(address, GET, GET, LAST).count(b"hello") == 3
    assert answers(address, GET * 20 + LAST).count(b"hello") == 21


def test_requests_without_end_before_an_answer_are_refused(address: Address) -> None:
    received = statuses(answers(address, GET * 5000))
    assert received[-1] == 429
    assert received[:-1] == [200] * (SHORT.pipelined + 1)


def test_the_head_of_an_answer_does_not_wait_for_its_body(address: Address) -> None:
    with socket.create_connection(address, PATIENCE_S) as connection:
        connection.sendall(b"POST /head HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\n")
        assert connection.recv(65536).endswith(b"\r\n\r\n")
        connection.sendall(b"abc")
        assert connection.recv(65536) == b"hello"


def test_answers_without_bodies_keep_their_place_among_others(address: Address) -> None:
    heads = answers(address, GET, LAST.replace(b"GET", b"HEAD")), answers(address, GET.replace(b"GET", b"HEAD"), LAST)
    assert [received.partition(b"hello")[0].count(b"HTTP/1.1 200") for received in heads] == [1, 2]
    assert [received.count(b"HTTP/1.1 200") for received in heads] == [2, 2]


@pytest.mark.parametrize("target", [b"http://x", b"http://x/", b"http://x/stream?a=b"])
def test_a_whole_address_is_a_target(address: Address, target: bytes) -> None:
    received = answers(address, b"GET %s HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" % target)
    assert received.startswith(b"HTTP/1.1 200")


def test_http_1_0_gets_no_chunks(address: Address) -> None:
    for path in (b"/", b"/stream"):
        head, _, body = answers(address, b"GET %s HTTP/1.0\r\n\r\n" % path).partition(b"\r\n\r\n")
        assert (b"transfer-encoding" in head, body) == (False, b"hello")
    assert b"\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n" in answers(address, LAST.replace(b"/ ", b"/stream ", 1))


# --- bodies ----------------------------------------------------------------------------------------------------------

CHUNKED = b"POST /echo HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


def pour(address: Address, first: bytes, more: bytes, times: int) -> tuple[int, bytes]:
    """Send without end, and return how many bytes were sent until the server closed, and what it said."""
    received, sent = b"", 0
    with socket.create_connection(address, PATIENCE_S) as connection, suppress(ConnectionError):
        connection.sendall(first)
        for _ in range(times):
            connection.sendall(more)
            sent += len(more)
    with socket.create_connection(address, PATIENCE_S) as connection, suppress(ConnectionError):
        connection.sendall(first + more)
        while data := connection.recv(65536):
            received += data
    return sent, received


@pytest.mark.parametrize(
    "more",
    [b"0\r\n" + b"a: %s\r\n" % (b"x" * 100) * 1000, b"0\r\na: " + b"x" * 100_000, b"1;e=" + b"x" * 100_000],
    ids=["trailers", "a trailer", "an extension"],
)
def test_what_surrounds_the_chunks_of_a_body_has_an_end(address: Address, more: bytes) -> None:
    rest = b"a: %s\r\n" % (b"x" * 100) * 1000 if more.endswith(b"\n") else b"x" * 100_000
    _, received = pour(address, CHUNKED + more, rest, 1)
    assert statuses(received) == [400]
    sent, _ = pour(address, CHUNKED + more, rest, 500)
    assert sent < 500 * len(rest)


def test_trailers_are_read_and_are_no_headers(address: Address) -> None:
    assert statuses(answers(address, CHUNKED + b"1\r\nx\r\n0\r\na: b\r\n\r\n" + LAST)) == [200, 200]


def test_the_body_of_an_answered_request_is_not_read_on(address: Address) -> None:
    head = CHUNKED.replace(b"/echo", b"/")
    piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    sent, received = pour(address, head, piece, 2000)
    assert sent < 2000 * len(piece)
    assert received.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in received


def test_a_short_rest_of_a_body_does_not_end_the_connection(address: Address) -> None:
    post = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n"
    with socket.create_connection(address, PATIENCE_S) as connection:
        connection.sendall(post)
        assert connection.recv(1000).endswith(b"hello")
        connection.sendall(b"12345" + LAST)
        assert connection.recv(1000).endswith(b"hello")


def test_the_rest_of_a_body_is_not_waited_for(address: Address) -> None:
    post = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n1"
    assert statuses(answers(address, post)) == [200]


# --- answers that nobody reads ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("close", [b"", b"connection: close\r\n"])
def test_an_answer_that_nobody_reads_is_not_kept(served: tuple[Address, Connections], close: bytes) -> None:
    address, connections = served
    with ExitStack() as opened, structlog.testing.capture_logs() as lines:
        for _ in range(10):
            connection = opened.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect(address)
            connection.sendall(b"GET /long HTTP/1.1\r\nhost: x\r\n%s\r\n" % close)
        assert b"hello" in answers(address, LAST)
        until(lambda: sum(line["event"] == "client cut off" for line in lines) == 10)
        until(lambda: len(connections) == 0)


def test_who_reads_slowly_gets_all_of_an_answer(address: Address) -> None:
    with socket.create_connection(address, PATIENCE_S) as connection:
        connection.sendall(b"GET /long HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        received = 0
        while data := connection.recv(200_000):
            received += len(data)
            threading.Event().wait(0.02)
    assert received > LONG_ANSWER


# --- room ------------------------------------------------------------------------------------------------------------


def test_the_oldest_idle_connections_make_room_and_the_log_says_so_once() -> None:
    few = Bounds(connections=10)
    with serving(few) as (address, connections), ExitStack() as opened, structlog.testing.capture_logs() as lines:
        idle = [opened.enter_context(socket.create_connection(address, PATIENCE_S)) for _ in range(10)]
        until(lambda: len(connections) == 10)
        idle[0].sendall(GET)
        assert idle[0].recv(1000).endswith(b"hello")  # now it is the newest
        for _ in range(5):
            newer = opened.enter_context(socket.create_connection(address, PATIENCE_S))
            newer.sendall(GET)
            assert newer.recv(1000).endswith(b"hello")
        assert [connection.recv(1) for connection in idle[1:6]] == [b""] * 5
        idle[0].sendall(GET)
        assert idle[0].recv(1000).endswith(b"hello")
    assert [line["most"] for line in lines if "run out" in line["event"]] == [10]


def test_no_request_makes_room_for_a_connection() -> None:
    with serving(Bounds(connections=3)) as (address, connections), ExitStack() as opened:
        busy = [opened.enter_context(socket.create_connection(address, PATIENCE_S)) for _ in range(3)]
        for connection in busy:
            connection.sendall(CHUNKED)
        until(lambda: len(connections) == 3)
        assert statuses(answers(address)) == [503]
        busy[0].sendall(b"0\r\n\r\n")
        assert busy[0].recv(1000).endswith(b"hello")


# --- WebSockets ------------------------------------------------------------------------------------------------------


def frame(opcode: int, body: bytes = b"", *, final: bool = True) -> bytes:
    """A client's frame of less than 126 bytes (RFC 6455, section 5.2), masked with zeros."""
    return bytes([0x80 * final | opcode, 0x80 | len(body)]) + bytes(4) + body


PING, TEXT, MORE = frame(9, bytes(125)), frame(1, b"a", final=False), frame(0, final=False)


@pytest.fixture
def opened(address: Address) -> Iterator[tuple[socket.socket, Any]]:
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


UPGRADE = (
    b"GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-version: 13\r\nsec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
)


def changed(old: bytes, new: bytes) -> bytes:
    assert old in UPGRADE
    return UPGRADE.replace(old, new, 1)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (changed(b"host: x", b"host: x\r\na: " + b"x" * 9000), 431),
        (changed(b"host: x", b"host: x" + b"\r\na: b" * 129), 431),
        (changed(b"GET / ", b"GET /" + b"x" * 9000 + b" "), 414),
        (changed(b"GET ", b"POST "), 400),
        (changed(b"GET ", b"OPTIONS "), 400),
        (changed(b"host: x", b"host: x\r\ntransfer-encoding: chunked"), 400),
        (changed(b"host: x", b"host: x\r\ncontent-length: 5"), 400),
        (changed(b"sec-websocket-key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n", b""), 400),
        (changed(b"MDEyMzQ1Njc4OWFiY2RlZg==", b"short"), 400),
        (changed(b"version: 13", b"version: 12"), 400),
    ],
)
@pytest.mark.parametrize("after", [b"", b"garbage" * 10], ids=["alone", "garbage after"])
def test_an_upgrade_that_cannot_be_is_answered_and_closed(
    address: Address, request_: bytes, status: int, after: bytes
) -> None:
    assert statuses(answers(address, request_ + after)) == [status]


def test_an_upgrade_of_http_1_0_or_to_something_else_is_a_plain_request(address: Address) -> None:
    assert statuses(answers(address, changed(b"HTTP/1.1", b"HTTP/1.0"))) == [200]
    assert statuses(answers(address, changed(b"websocket", b"h2c") * 2 + LAST)) == [200, 200, 200]
    post = changed(b"GET / ", b"POST /echo ").replace(b"websocket\r\n", b"h2c\r\ncontent-length: 3\r\n")
    assert statuses(answers(address, post + b"abc" + LAST)) == [200, 200]


def test_an_upgrade_behind_a_request_is_refused_after_its_answer(address: Address) -> None:
    assert statuses(answers(address, GET + UPGRADE)) == [200, 400]


@pytest.mark.parametrize("target", [b"/", b"http://x/"])
def test_garbage_after_an_upgrade_ends_it(address: Address, target: bytes) -> None:
    received = answers(address, changed(b"GET /", b"GET " + target) + b"garbage" * 10)
    assert received.startswith(b"HTTP/1.1 101")


def test_a_frame_that_comes_with_the_upgrade_is_read(address: Address) -> None:
    with socket.create_connection(address, PATIENCE_S) as connection, connection.makefile("rb") as received:
        connection.sendall(UPGRADE + frame(1, b"abc"))
        while received.readline().strip():
            pass
        assert received.read(3) == b"\x81\x013"


def test_an_upgrade_that_the_application_does_not_answer_is_closed(address: Address) -> None:
    assert answers(address, changed(b"GET /", b"GET /slow")) == b""
