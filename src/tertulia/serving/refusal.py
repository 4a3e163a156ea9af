"""Answers to what is no request: the parser's errors, and what passes the bounds of a connection."""

from collections.abc import Iterable
from http import HTTPStatus

import msgspec

Fields = Iterable[tuple[bytes, bytes]]


def refusal(status: int, detail: str, fields: Fields = ()) -> bytes:
    """Encode an answer in the API's form of an error. Return the bytes of a response after which nothing follows."""
    body = msgspec.json.encode({"detail": detail})
    own = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    lines = [b"HTTP/1.1 %d %s" % (status, HTTPStatus(status).phrase.encode())]
    lines += [b"%s: %s" % field for field in [*fields, *own]]
    return b"\r\n".join([*lines, b"", body])
