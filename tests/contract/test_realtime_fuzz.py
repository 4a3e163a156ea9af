"""Ten thousand damaged messages and frames of live conversations: each is answered or ends its session, no more."""

import asyncio
import collections
import itertools
import json
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import ConnectionClosed

from support import talk
from support.frames import Mutator, handshake
from support.live import PATIENCE_S, Live, address, live
from support.server import Serve, Server

pytestmark = pytest.mark.heavy

SEED = 20_261_124
DAMAGED_MESSAGES = 12_000
DAMAGED_FRAMES = 2000
BATCH = 25
QUERIES = ("response_format=text", "response_format=voice&audio_format=mp3", "response_format=voice")

ERRORS = {400, 404, 408, 409, 413, 415, 422, 429}
CLOSED = {1000, 1003, 1007, 1009}
MESSAGES = {
    "conversation-created", "user-message-available", "current-agent-action", "new-message", "interaction-complete",
    "error", "vad-speech-started", "vad-speech-ended", "vad-reset-zero", "vad-mode-switched",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(serve: Serve) -> Server:
    return serve(scripted={"pieces": 2})


def tasks_of(server: Server) -> int:
    return len(asyncio.all_tasks(server._uvicorn.servers[0].get_loop()))


def wait_until_left_alone(server: Server, tasks: int) -> None:
    latest = time.monotonic() + PATIENCE_S
    while tasks_of(server) > tasks and time.monotonic() < latest:
        time.sleep(0.05)
    assert tasks_of(server) <= tasks


def check_health(server: Server, log: str) -> None:
    assert "live session" not in log
    assert "Traceback" not in log
    assert server.anonymous.get(f"{server.url}/healthz").status_code == 200
    assert "\ntertulia_live_sessions 0.0" in server.anonymous.get(f"{server.url}/metrics").text


def batches(mutator: Mutator, count: int) -> Iterator[list[str | bytes]]:
    messages = itertools.islice(mutator, count)
    while batch := list(itertools.islice(messages, BATCH)):
        yield batch


def exchange(opened: Live, batch: list[str | bytes]) -> None:
    """Send messages, and hear what comes until all of them have been taken."""
    for message in batch:
        opened.connection.send(message)
    opened.send("unheard-of", marker=True)
    while not (seen := opened.receive()).get("error_description", "").startswith("Invalid value 'client.unheard-of'"):
        check(seen)


def check(message: dict[str, object]) -> None:
    assert str(message["type"]).removeprefix("server.") in MESSAGES
    if message["type"] == "server.error":
        assert message["http_error_code"] in ERRORS, message
        assert message["error_description"]


def finish_all(server: Server) -> None:
    """Make room for another conversation, once the one before is left alone."""
    for found in talk.conversations(server.as_user, is_finished="false"):
        latest = time.monotonic() + PATIENCE_S
        while talk.finish(server.as_user, found["id"]).status_code == 409 and time.monotonic() < latest:
            time.sleep(0.01)


def test_damaged_messages_do_no_harm(server: Server, capfd: pytest.CaptureFixture[str]):
    token = server.sign_in(server.demo.user_id)
    tasks = tasks_of(server)
    came: collections.Counter[object] = collections.Counter()
    pending = batches(Mutator(SEED, server.demo.service_id), DAMAGED_MESSAGES)
    batch = next(pending, None)
    queries = itertools.cycle(QUERIES)
    while batch is not None:
        finish_all(server)
        with live(server, token, next(queries)) as opened:
            try:
                opened.send("start-conversation", service_id=server.demo.service_id)
                while batch is not None:
                    exchange(opened, batch)
                    batch = next(pending, None)
            except ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else None
                came[code] += 1
                batch = next(pending, None)
        came.update(message.get("http_error_code", message["type"]) for message in opened.received)
    assert {code for code in came if isinstance(code, int)} <= ERRORS | CLOSED
    assert came["server.interaction-complete"] >= DAMAGED_MESSAGES // 1000
    wait_until_left_alone(server, tasks)
    check_health(server, capfd.readouterr().err)


def test_damaged_frames_do_no_harm(server: Server, capfd: pytest.CaptureFixture[str]):
    token = server.sign_in(server.demo.user_id)
    tasks = tasks_of(server)
    mutator = Mutator(SEED + 1, server.demo.service_id)
    url = urlsplit(address(server, QUERIES[0]))
    opening = handshake(f"{url.path}?{url.query}", url.netloc, token)
    frames = (mutator.raw(message) for message in itertools.islice(mutator, DAMAGED_FRAMES))
    while group := list(itertools.islice(frames, 5)):
        with socket.create_connection((url.hostname, url.port), PATIENCE_S) as connection:
            connection.sendall(opening)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 101")
            try:
                for frame in group:
                    connection.sendall(frame)
            except OSError:  # it has been closed for what came before
                continue
    wait_until_left_alone(server, tasks)
    check_health(server, capfd.readouterr().err)


def test_what_was_begun_while_all_this_came_can_be_gone_on_with(server: Server):
    with live(server, server.sign_in(server.demo.admin_user_id), QUERIES[0]) as opened:
        opened.start(server.demo.service_id)
        opened.say(json.dumps({"still": "here"}))
        opened.until("interaction-complete")
