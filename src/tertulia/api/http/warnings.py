"""Warnings beside an answer: the request was carried out, but probably not as its caller meant it.

Each is a header `X-Tertulia-Warning` of the response, whatever response it is. An endpoint calls `warn`; the middleware
puts the headers in.
"""

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import Scope

HEADER = "X-Tertulia-Warning"
MOST = 10
"""Warnings of one response; those beyond are only counted."""
LONGEST = 200
"""ASCII characters of one warning."""

_SCOPE_KEY = "tertulia.warnings"


def warn(connection: HTTPConnection, text: str) -> None:
    """Have the response carry a warning: a sentence that begins with the field it is about, if it is about one.

    A warning that is already there is not repeated. On a WebSocket nobody sees it.
    """
    told: list[str] = connection.scope.setdefault(_SCOPE_KEY, [])
    if text not in told:
        told.append(text)


def tell(scope: Scope, headers: MutableHeaders) -> None:
    """Put a request's warnings into the headers of its response."""
    told: list[str] = scope.get(_SCOPE_KEY, [])
    for text in told[:MOST]:
        headers.append(HEADER, _ascii(text))
    if len(told) > MOST:
        headers.append(HEADER, f"{len(told) - MOST} more warnings are left out.")


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
