"""Warnings beside an answer: the request was carried out, but probably not as its caller meant it.

Each is a header `X-Tertulia-Warning` of the response, whatever response it is. An endpoint calls `warn`; the middleware
puts the headers in. On a WebSocket they are a field of the server's next message.
"""

from collections.abc import Sequence

import msgspec
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import Scope

HEADER = "X-Tertulia-Warning"
MOST = 10
"""Warnings of one response; those beyond are only counted."""
LONGEST = 200
"""ASCII characters of one warning."""

REPEATS = "This version is the same as the one before."

_SCOPE_KEY = "tertulia.warnings"


def warn(connection: HTTPConnection, text: str) -> None:
    """Have the response carry a warning: a sentence that begins with the field it is about, if it is about one.

    A warning that is already there is not repeated. On a WebSocket nobody sees it: see `with_warnings`.
    """
    told: dict[str, None] = connection.scope.setdefault(_SCOPE_KEY, {})
    told[text] = None


def unknown(name: str) -> str:
    """Warn of a field that nobody knows. Return the text."""
    return f"{name}: this field is not known and was ignored."


def tell(scope: Scope, headers: MutableHeaders) -> None:
    """Put a request's warnings into the headers of its response."""
    for text in _bounded(list(scope.get(_SCOPE_KEY, ()))):
        headers.append(HEADER, text)


def with_warnings(message: bytes, told: Sequence[str]) -> bytes:
    """Put warnings into a message of a WebSocket, a JSON object with fields. Return it with a list `warnings`."""
    return b'%s,"warnings":%s}' % (message.rstrip().removesuffix(b"}"), msgspec.json.encode(_bounded(told)))


def _bounded(told: Sequence[str]) -> list[str]:
    left_out = [f"{len(told) - MOST} more warnings are left out."] if len(told) > MOST else []
    return [_ascii(text) for text in told[:MOST]] + left_out


def _ascii(text: str) -> str:
    """Write a text as a header can carry it. Return other characters than visible ASCII in the escapes of JSON."""
    written = ""
    for character in text:
        escaped = character if " " <= character <= "~" else _escape(character)
        if len(written) + len(escaped) > LONGEST - 3:
            return f"{written}..."
        written += escaped
    return written


def _escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
