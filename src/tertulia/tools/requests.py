"""The request of a call of an HTTP tool, made of its operation and the call's values; and the ones that redirects ask.

No value becomes anything but what it stands for: in a path it is one part of a segment, in a query one value, in a
header one line.
"""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast
from urllib.parse import quote, urlencode

import httpx2

from tertulia.tools.definitions import PLACEHOLDER, Authorization, Body, HttpOperation, Parameter, checked_url
from tertulia.tools.outcomes import CallFailed
from tertulia.tools.values import ToolCall

SAFE_METHODS = frozenset({"GET", "HEAD"})
"""Methods without effects: a redirect is followed wherever it leads."""

_LONGEST_URL = 8000
_LONGEST_HEADER = 8000
_ANYWHERE = frozenset({"accept", "user-agent", "accept-encoding"})
_HEADERS = {
    "Accept": "application/json, text/*;q=0.9, */*;q=0.5",
    "Accept-Encoding": "identity",
    "User-Agent": "tertulia",
}


def request_of(operation: HttpOperation, call: ToolCall) -> httpx2.Request:
    """Make the request of a call. Return it.

    Raises:
        CallFailed: an argument or a variable is missing, or cannot stand where it belongs.
    """
    given = [(parameter, _value(parameter, call)) for parameter in operation.parameters]
    given = [(parameter, value) for parameter, value in given if value is not None]
    headers = httpx2.Headers(_HEADERS)
    headers["Idempotency-Key"] = header_value("Idempotency-Key", call.key)
    headers["Tertulia-Attempt"] = str(call.attempt)
    for parameter, value in given:
        if parameter.in_ == "header":
            headers[parameter.name] = header_value(parameter.name, _joined(parameter.name, value))
    if operation.authorization is not None:
        headers["Authorization"] = authorization_of(operation.authorization, call.environment)
    content = b""
    if operation.body is not None:
        headers["Content-Type"], content = _content(operation, operation.body, call)
    return httpx2.Request(operation.method, _url(operation, given), headers=headers, content=content or None)


def secrets_of(operation: HttpOperation, call: ToolCall) -> Iterator[str]:
    """List the values of a call that nobody is to see in its outcome. Return them, in the forms that are sent."""
    for parameter in operation.parameters:
        yield call.environment.get(parameter.variable or "", "")
        yield call.secret_user_variables.get(parameter.secret_user_variable or "", "")
    yield from secrets_in(operation.authorization, call.environment)


def secrets_in(authorization: Authorization | None, environment: Mapping[str, str]) -> Iterator[str]:
    """List the secrets of an authorization. Return them, in the forms in which they are sent."""
    if authorization is None:
        return
    name = authorization.basic.password if authorization.basic is not None else authorization.bearer
    yield environment.get(name or "", "")
    with suppress(CallFailed):  # a variable is missing: nothing is sent
        yield authorization_of(authorization, environment).partition(" ")[2]


def authorization_of(authorization: Authorization, environment: Mapping[str, str]) -> str:
    """Write the header `Authorization`. Return its value.

    Raises:
        CallFailed: an environment variable is missing, or has a line break.
    """
    if authorization.basic is None:
        return header_value("Authorization", f"Bearer {variable(environment, authorization.bearer or '')}")
    user, password = (variable(environment, name) for name in (authorization.basic.user, authorization.basic.password))
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def variable(environment: Mapping[str, str], name: str) -> str:
    """Get an environment variable of a tool. Return its value.

    Raises:
        CallFailed: the tool has none of this name.
    """
    if name not in environment:
        raise CallFailed("VariableMissing", f"The tool has no environment variable {name}.")
    return environment[name]


def header_value(name: str, value: str) -> str:
    """Check the value of a header. Return it.

    Raises:
        CallFailed: it has a line break, or a character that no header has.
    """
    if not (value.isascii() and value.isprintable()) or len(value) > _LONGEST_HEADER:
        raise CallFailed("ArgumentInvalid", f"The value of the header {name} is too long, or not printable ASCII.")
    return value.strip(" ")


def redirected(request: httpx2.Request, response: httpx2.Response) -> httpx2.Request | None:
    """Find out which request a response asks for. Return None if it is an answer, and no redirect.

    At another origin there is neither a credential nor a body, nor any header but what the client is.

    Raises:
        CallFailed: it leads where nobody is to follow.
    """
    location = response.headers.get("location")
    if response.status_code not in {301, 302, 303, 307, 308} or location is None:
        return None
    try:
        target = checked_url(str(request.url.join(location).copy_with(fragment=None)))
    except (httpx2.InvalidURL, ValueError):
        raise CallFailed("RedirectRefused", "The server redirects to what is not an address.") from None
    same = _origin(target) == _origin(request.url)
    safe = request.method in SAFE_METHODS or response.status_code == 303
    if (request.url.scheme, target.scheme) == ("https", "http") or not (safe or (same and _is_kept(response))):
        raise CallFailed("RedirectRefused", f"The server redirects to {target.scheme}://{target.host}, not followed.")
    headers = {name: value for name, value in request.headers.items() if same or name in _ANYWHERE}
    headers = {name: value for name, value in headers.items() if name not in {"host", "content-length"}}
    if not safe:
        return httpx2.Request(request.method, target, headers=headers, content=request.content)
    headers.pop("content-type", None)
    return httpx2.Request("HEAD" if request.method == "HEAD" else "GET", target, headers=headers)


def _is_kept(response: httpx2.Response) -> bool:
    return response.status_code in {307, 308}


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port or {"http": 80, "https": 443}.get(url.scheme)


def _value(parameter: Parameter, call: ToolCall) -> Any:
    """Get the value of a parameter. Return None if there is none and none is needed."""
    if parameter.variable is not None:
        return variable(call.environment, parameter.variable)
    if parameter.user_variable is not None:
        return call.user_variables.get(parameter.user_variable)
    if parameter.secret_user_variable is not None:
        return call.secret_user_variables.get(parameter.secret_user_variable)
    argument = parameter.taken_argument
    return parameter.value if argument is None else call.arguments.get(argument)


def _url(operation: HttpOperation, given: Sequence[tuple[Parameter, Any]]) -> str:
    """Write the address of a request. Return it."""
    in_path = {parameter.name: _text(parameter.name, value) for parameter, value in given if parameter.in_ == "path"}
    template, _, query = operation.url.partition("?")
    url = PLACEHOLDER.sub(lambda found: _segment(found[1], in_path), template)
    for made, before in zip(url.split("/"), template.split("/"), strict=True):
        if made in {".", ".."} and made != before:  # two values in one segment
            raise CallFailed("ArgumentInvalid", "The arguments must not lead to another path.")
    pairs = [pair for parameter, value in given if parameter.in_ == "query" for pair in _pairs(parameter, value)]
    query = "&".join(filter(None, [query, urlencode(pairs, quote_via=quote)]))
    url = f"{url}?{query}" if query else url
    if len(url) > _LONGEST_URL:
        raise CallFailed("ArgumentInvalid", "The arguments make the address too long.")
    return url


def _segment(name: str, in_path: Mapping[str, str]) -> str:
    value = in_path.get(name, "")
    if not value:
        raise CallFailed("ArgumentInvalid", f"{name} stands in the path of the address and must not be empty.")
    if any(part in {".", ".."} for part in value.replace("\\", "/").split("/")):
        raise CallFailed("ArgumentInvalid", f"{name} must not lead to another path.")
    return quote(value, safe="")


def _pairs(parameter: Parameter, value: Any) -> Iterator[tuple[str, str]]:
    name = parameter.name
    if isinstance(value, list) and parameter.explode:
        yield from ((name, _text(name, item)) for item in cast("list[object]", value))
    elif isinstance(value, dict):
        for key, item in cast("dict[str, object]", value).items():
            yield _text(name, f"{name}[{key}]"), _text(name, item)
    else:
        yield name, _joined(name, value)


def _joined(name: str, value: Any) -> str:
    items = cast("list[object]", value) if isinstance(value, list) else [cast("object", value)]
    return ",".join(_text(name, item) for item in items)


def _text(name: str, value: Any) -> str:
    text = value if isinstance(value, str) else json_of(value)
    if not is_unicode(text):
        raise CallFailed("ArgumentInvalid", f"{name} is not text in Unicode.")
    return text


def is_unicode(text: str) -> bool:
    """Return True for text that can be written in UTF-8: JSON can hold halves of characters."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def json_of(value: Any) -> str:
    """Write a value as JSON, in ASCII. Return it.

    Raises:
        CallFailed: it cannot be written.
    """
    try:
        return json.dumps(value, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        raise CallFailed("ArgumentInvalid", "The arguments cannot be written as JSON.") from None


def _content(operation: HttpOperation, body: Body, call: ToolCall) -> tuple[str, bytes]:
    """Make the body of a request. Return its type and its bytes."""
    taken = {parameter.taken_argument for parameter in operation.parameters}
    value: Any = {name: item for name, item in call.arguments.items() if name not in taken}
    if body.argument is not None:
        value = call.arguments.get(body.argument)
    if body.format == "json":
        return "application/json", json_of(value).encode()
    if not isinstance(value, dict):
        raise CallFailed("ArgumentInvalid", "The body must be an object.")
    pairs = [
        (_text(name, name), _text(name, item))
        for name, items in cast("dict[str, Any]", value).items()
        for item in (cast("list[object]", items) if isinstance(items, list) else [items])
        if item is not None
    ]
    return "application/x-www-form-urlencoded", urlencode(pairs).encode()
