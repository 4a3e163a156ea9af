"""Values as models write them, loosely read: trailing commas, single or curly quotes, names without quotes, comments,
and no last brace. The work is linear in the length.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

_MOST_OBJECTS = 20
_MOST_DEPTH = 6
_QUOTES = "\"'“”\u2018\u2019"
_SPACE = re.compile(r"(?:\s++|//[^\n]*+)*+")
_TOKEN = re.compile(
    r"""
    (?: (?P<mark> [{}\[\]:,] )
    | (?P<json> "(?:[^"\\]|\\.)*+" )
    | '(?P<single> (?:[^'\\]|\\.)*+ )'
    | [“”„](?P<curly> [^“”„]* )[“”] | [\u2018\u2019](?P<curly_single> [^\u2018\u2019]* )[\u2018\u2019]
    | (?P<word> [^\s{}\[\]:,"'“”„\u2018\u2019]+ )
    | (?P<end> \Z ) )
    """,
    re.VERBOSE,
)
_WHOLE_NUMBER = re.compile(r"(\d{1,9})(?:\.0{1,9})?", re.ASCII)

Object = tuple[tuple[str, Any], ...]
"""The pairs of an object, of which two may have one name."""


class Found(NamedTuple):
    """A value and its place in the text; `value` is None for what was left unread."""

    value: Any
    begin: int
    end: int


class _Unreadable(Exception):
    """A text that is no value, however loosely it is read."""


def values_in(text: str) -> Iterator[Found]:
    """Read a text that begins with a value, or the objects in it. Yield each, none of them within another."""
    at, tries = text.find("{"), 0
    begun = len(text) - len(text.lstrip())
    if text[begun : begun + 1] in {'"', "["}:
        try:
            value, end = _Reader(text).read(begun, 0)
        except _Unreadable:
            pass
        else:
            yield Found(value, begun, end)
            at = text.find("{", end)
    while at >= 0 and tries < _MOST_OBJECTS:
        tries += 1
        try:
            value, end = _Reader(text).read(at, 0)
        except _Unreadable:
            end = at + 1
        else:
            yield Found(value, at, end)
        at = text.find("{", end)
    if at >= 0:
        yield Found(None, at, len(text))


def whole_number(text: str) -> int | None:
    """Read a whole number, however it is written. Return None for another text."""
    number = _WHOLE_NUMBER.fullmatch(text)
    return int(number[1]) if number else None


class _Reader:
    """Reads values from a text, each from a place on."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._last_comment_end = text.rfind("*/")

    def read(self, at: int, depth: int) -> tuple[Any, int]:
        """Read a value. Return it and its end. Raises _Unreadable."""
        token = self._token(at)
        if depth > _MOST_DEPTH or token["end"] is not None:
            raise _Unreadable
        if token["mark"] == "{":
            return self._object(token.end(), depth)
        if token["mark"] == "[":
            return self._list(token.end(), depth)
        text = _text_of(token)
        number = whole_number(text) if token["word"] else None
        return (text if number is None else number), token.end()

    def _object(self, at: int, depth: int) -> tuple[Object, int]:
        pairs: list[tuple[str, Any]] = []
        while True:
            token = self._token(at)
            if (end := self._closed(token, "}")) is not None:
                return tuple(pairs), end
            colon = self._token(token.end())
            if colon["mark"] != ":":
                raise _Unreadable
            value, at = self.read(colon.end(), depth + 1)
            pairs.append((_text_of(token), value))
            at = self._after_item(at, "}")

    def _list(self, at: int, depth: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        while True:
            if (end := self._closed(self._token(at), "]")) is not None:
                return items, end
            item, at = self.read(at, depth + 1)
            items.append(item)
            at = self._after_item(at, "]")

    def _closed(self, token: re.Match[str], mark: str) -> int | None:
        """Tell if a value ends here: at its mark, or at the end of the text. Return its end, or None."""
        return token.end() if token["mark"] == mark or token["end"] is not None else None

    def _after_item(self, at: int, mark: str) -> int:
        """Go on behind an item and its comma. Return the place. Raises _Unreadable for a word that may be cut off."""
        token = self._token(at)
        if token["mark"] == ",":
            return token.end()
        if token["mark"] == mark or (token["end"] is not None and self._text[at - 1] in f"{_QUOTES}]}}"):
            return at
        raise _Unreadable

    def _token(self, at: int) -> re.Match[str]:
        token = _TOKEN.match(self._text, self._behind_comments(at))
        if token is None:
            raise _Unreadable
        return token

    def _behind_comments(self, at: int) -> int:
        """Pass over white space and comments. Return the place behind them; a comment that never ends is none."""
        while True:
            at = _SPACE.match(self._text, at).end()  # type: ignore[union-attr] - it matches nothing too
            if not self._text.startswith("/*", at) or at + 2 > self._last_comment_end:
                return at
            at = self._text.find("*/", at + 2) + 2


def _text_of(token: re.Match[str]) -> str:
    """Read a string or a word. Raises _Unreadable for a mark."""
    if token["json"] is not None:
        try:
            return json.loads(token["json"], strict=False)
        except ValueError:
            raise _Unreadable from None
    if token["single"] is not None:
        return re.sub(r"\\(.)", r"\1", token["single"])
    for name in ("curly", "curly_single", "word"):
        if token[name] is not None:
            return token[name]
    raise _Unreadable
