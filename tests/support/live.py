"""A live conversation as a client has it."""

import base64
import json
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from support.server import Server
from tertulia.auth.credentials import SUBPROTOCOL

PATIENCE_S = 20

Message = dict[str, Any]

T = TypeVar("T")


class Live:
    """A connection; what it receives is kept in `received`."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.received: list[Message] = []

    def send(self, kind: str, **fields: Any) -> None:
        self.connection.send(json.dumps({"type": f"client.{kind}", **fields}))

    def say(self, text: str) -> None:
        self.send("new-text-message", text=text, message_type="user-message")

    def happen(self, text: str) -> None:
        self.send("new-text-message", text=text, message_type="external-event")

    def speak(self, pcm: bytes | None, **fields: Any) -> None:
        audio = None if pcm is None else base64.b64encode(pcm).decode()
        self.send("new-audio-message", audio=audio, **fields)

    def receive(self) -> Message:
        message = json.loads(self.connection.recv(PATIENCE_S))
        self.received.append(message)
        return message

    def until(self, kind: str, refusing: bool = True) -> list[Message]:
        """Receive up to a message of a kind. Return all; an error ends the test, unless it is waited for."""
        messages = [self.receive()]
        while messages[-1]["type"] != f"server.{kind}":
            assert messages[-1]["type"] != "server.error" or not refusing, messages[-1]
            messages.append(self.receive())
        return messages

    def start(self, service_id: str, **fields: Any) -> list[Message]:
        """Begin a conversation; all of its first turn."""
        self.send("start-conversation", service_id=service_id, **fields)
        return self.until("interaction-complete")

    def refused(self) -> tuple[int, str]:
        """The status and the text of the error that comes next."""
        message = self.receive()
        assert message["type"] == "server.error", message
        return message["http_error_code"], message["error_description"]

    def closed(self) -> tuple[int, str]:
        """The code and the reason of the server's closing, which must come before anything else."""
        with pytest.raises(ConnectionClosed) as raised:
            self.received.append(json.loads(self.connection.recv(PATIENCE_S)))
        assert raised.value.rcvd is not None
        return raised.value.rcvd.code, raised.value.rcvd.reason

    def closed_in_the_end(self) -> int:
        """The code of the server's closing, whatever comes before it."""
        try:
            while True:
                self.connection.recv(PATIENCE_S)
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd else 0


def address(server: Server, query: str = "response_format=text", organization: str | None = None) -> str:
    base = f"{server.url}/v1/{organization or server.demo.organization_id}".replace("http", "ws", 1)
    return f"{base}/conversation/converse_realtime?{query}"


@contextmanager
def live(server: Server, token: str, query: str = "response_format=text", **options: Any) -> Generator[Live]:
    """Connect as a browser does, with the token as a subprotocol."""
    with connect(
        address(server, query),
        subprotocols=[Subprotocol(f"{SUBPROTOCOL}{token}")],
        proxy=None,
        **{"user_agent_header": None, **options},
    ) as connection:
        yield Live(connection)


def patiently(find: Callable[[], T]) -> T:
    """Look again and again. Return what is found, as soon as it is true."""
    latest = time.monotonic() + PATIENCE_S
    while not (found := find()):
        assert time.monotonic() < latest, "it does not come true"
        time.sleep(0.01)
    return found


def types(messages: list[Message]) -> list[str]:
    return [message["type"].removeprefix("server.") for message in messages]
