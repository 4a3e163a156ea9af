"""The change that a line of the audit log tells of, as JSON without secrets, and of bounded length."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec

MASK = "***"
"""The text that stands in the place of a secret."""

MOST_TEXT = 500
"""Characters of one text of a change; a longer one ends with its length and digest."""

MOST_CHANGE = 16_000
"""Characters of a change; parts that make it longer are told by their length and digest alone."""

_DIGEST = {"characters", "sha256"}

_SECRET = re.compile(
    r"secret|passw|passphrase|token|api[-_ ]?key|auth(?!or)|cookie|credential|private|signature|bearer|jwt"
    r"|((^|[-_ ])|(?-i:(?<=[a-z0-9])(?=[A-Z])))(key|pin|pass|pwd|otp)$",
    re.IGNORECASE,
)
_ALL_SECRET = re.compile(r"^sensitive_|^(http_)?headers$|^(env|environment)$|^comment$", re.IGNORECASE)
"""Names whose values are all secret. A comment on a message is seen by whoever may read that, and goes with it."""

_LINK = re.compile(r"://(?P<user>[^\s/?#]*@|[^\s/:@?#]*:(?!\d*/)[^\s?#]*@)?(?P<rest>[^\s?#]*)(?P<tail>[?#]\S*)?")
"""A link behind its scheme. A password may have signs that ought to be escaped: it ends with the last at sign."""


def masked(value: Any, private: frozenset[str] = frozenset()) -> Any:
    """Put a mask in the place of secrets: values under names of secrets or `private` ones, of variables, within links.

    Return the value without them; the names remain.
    """
    if isinstance(value, Mapping):
        named = cast("Mapping[str, Any]", value)
        is_variable = {"name", "value"} <= named.keys() and named.get("is_secret") is not False
        return {
            key: _hidden(item)
            if key in private or _SECRET.search(key) or _ALL_SECRET.search(key) or (is_variable and key == "value")
            else masked(item, private)
            for key, item in named.items()
        }
    if isinstance(value, list | tuple):
        return [masked(item, private) for item in cast("list[Any]", value)]
    return _shortened(_LINK.sub(_without_secrets, value)) if isinstance(value, str) else value


def _hidden(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict.fromkeys(cast("Mapping[str, Any]", value), MASK)
    if isinstance(value, list):
        return [MASK] * len(cast("list[Any]", value))
    return value if value is None or isinstance(value, bool) else MASK


def _without_secrets(found: re.Match[str]) -> str:
    user = f"{MASK}@" if found["user"] else ""
    tail = f"{found['tail'][0]}{MASK}" if found["tail"] else ""
    return f"://{user}{found['rest']}{tail}"


def _shortened(text: str) -> str:
    if len(text) <= MOST_TEXT:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{text[:MOST_TEXT]}... ({len(text)} characters, SHA-256 {digest})"


def change_of(request: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """Tell a change: the request, and the fields of the object that differ, as they were and as they are.

    Return it as JSON, without secrets.
    """
    return change_told(told(request), before, after)


def told(request: Any) -> Any:
    """Tell a request without its secrets. Return it, or its length and digest alone if it is longer than a change."""
    return _bounded(masked(request))


def change_told(
    request: Any, before: Mapping[str, Any], after: Mapping[str, Any], private: frozenset[str] = frozenset()
) -> str:
    """Tell a change whose request is told already. Return it as JSON, without secrets and values of `private` names."""
    names = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
    parts = {
        "request": request,
        "before": masked({name: before[name] for name in names if name in before}, private),
        "after": masked({name: after[name] for name in names if name in after}, private),
    }
    change = {name: part for name, part in parts.items() if part}
    for name in ("request", "before", "after"):
        if len(_json(change)) > MOST_CHANGE and name in change:
            change[name] = _bounded(change[name], most=0)
    return _json(change)


def _bounded(part: Any, most: int = MOST_CHANGE) -> Any:
    whole = _json(part)
    if len(whole) <= most or (isinstance(part, dict) and cast("dict[str, Any]", part).keys() == _DIGEST):
        return cast("Any", part)
    return {"characters": len(whole), "sha256": hashlib.sha256(whole.encode()).hexdigest()}


def _json(value: object) -> str:
    return msgspec.json.encode(value, order="sorted").decode()
