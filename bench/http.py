"""The least of HTTP that measuring turns needs: their requests, and when an answer is whole and right."""

import re
from typing import NamedTuple
from urllib.parse import urlsplit

FIRST_EVENT = b'{"type":"'
PIECE = b'{"type":"new-message"'
COMPLETE = b'{"type":"interaction-complete"'

ANSWERED = b"HTTP/1.1 2"
_FINE = (b"HTTP/1.1 201 ", b"HTTP/1.1 200 ")
_CHUNKED = b"transfer-encoding: chunked"
_END = b"\r\n0\r\n\r\n"
_NO_CONTENT = b"HTTP/1.1 204 "
_LENGTH = re.compile(rb"content-length: (\d+)")
_CONVERSATION_ID = re.compile(rb'"conversation_id":"([0-9a-f]+)"')
_BOUNDARY = "bench"


class Create(NamedTuple):
    """A create that may be made once: a user has one unfinished conversation of a service."""

    token: str
    service_id: str
    message: str = ""
    """The user's first message, plain ASCII; without one the agent speaks first."""

    @property
    def body(self) -> str:
        """Its body, in JSON."""
        said = f',"initial_message":"{self.message}"' if self.message else ""
        return f'{{"service_id":"{self.service_id}"{said}}}'


def path_of(org_id: str) -> str:
    """The path at which conversations of an organization are created."""
    return f"/v1/{org_id}/conversation/?response_format=text"


def address_of(url: str) -> tuple[str, int]:
    """Host and port of a server."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    return parts.hostname, parts.port


def request_of(path: str, create: Create) -> bytes:
    """A create on a connection that is kept open."""
    return plain_request("POST", path, create.token, create.body)


def plain_request(method: str, path: str, token: str, body: str = "", headers: str = "") -> bytes:
    """A request with a body of JSON, or none, on a connection that is kept open; `headers` are more whole lines."""
    kind = "Content-Type: application/json\r\n" if body else ""
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{authorization}{headers}"
        f"{kind}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def interact_of(org_id: str, token: str, conversation_id: str, message: str) -> bytes:
    """A message of a user, on a connection that is kept open."""
    parts = {"initial_message_type": "user-message", "recorded_message": message}
    body = "".join(
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in parts.items()
    )
    body += f"--{_BOUNDARY}--\r\n"
    path = f"/v1/{org_id}/conversation/{conversation_id}/interact?request_format=text&response_format=text"
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


class Answer:
    """An answer as its bytes come."""

    __slots__ = ("received",)

    def __init__(self) -> None:
        self.received = b""

    def feed(self, data: bytes) -> bool:
        """Take in bytes; say whether the answer is whole."""
        self.received += data
        if self.received.endswith(_END):
            return True
        head, found, body = self.received.partition(b"\r\n\r\n")
        if found and head.startswith(_NO_CONTENT):
            return True
        if not found or _CHUNKED in head:
            return False
        length = _LENGTH.search(head)
        return length is not None and len(body) >= int(length[1])

    @property
    def is_right(self) -> bool:
        """Tell if it is 201 or 200, and the last line of its body says that the interaction is complete."""
        body = self.received.removesuffix(b"\n" + _END)
        return self.received.startswith(_FINE) and body[body.rfind(b"\n") + 1 :].startswith(COMPLETE)

    @property
    def conversation_id(self) -> str:
        """The conversation that a create has made."""
        found = _CONVERSATION_ID.search(self.received)
        assert found
        return found[1].decode()

    @property
    def lines(self) -> list[bytes]:
        """The lines of its body, without the framing of chunks."""
        return [line for line in self.received.splitlines(keepends=True) if line.startswith(b'{"type":')]
