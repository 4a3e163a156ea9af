"""A choice that a model wrote in a form near the asked one: a reading of last resort, after the strict one has failed.

Objects may have trailing commas, single or curly quotes, names without quotes, comments, and no last brace; the option
may stand under `value` or `answer`, in a list, in a string of JSON, in another case, as a number, or alone as the whole
answer. An answer that names two options, or something else beside one, is none. The work is linear in the length.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, cast

_OTHER_NAMES = frozenset({"value", "answer"})
_MOST_OBJECTS = 20
_MOST_DEPTH = 6
_MOST_STRINGS = 3
"""Strings of JSON within each other."""
_LONGEST_ALONE = 1000
_QUOTES = "\"'“”\u2018\u2019"
_AROUND = f" \t\r\n`*.„{_QUOTES}"
_TOKEN = re.compile(
    r"""
    (?: \s++ | //[^\n]*+ | /\*(?s:.{0,1000}?)\*/ )*+
    (?: (?P<mark> [{}\[\]:,] )
    | (?P<json> "(?:[^"\\]|\\.)*+" )
    | '(?P<single> (?:[^'\\]|\\.)*+ )'
    | [“”„](?P<curly> [^“”„]* )[“”] | [\u2018\u2019](?P<curly_single> [^\u2018\u2019]* )[\u2018\u2019]
    | (?P<word> [^\s{}\[\]:,"'“”„\u2018\u2019]+ )
    | (?P<end> \Z ) )
    """,
    re.VERBOSE,
)
_NUMBER = re.compile(r"(\d{1,9})(?:\.0{1,9})?", re.ASCII)
_ENDS_IN_NUMBER = re.compile(r"(?:.*\D)?0*(\d{1,9})", re.ASCII | re.DOTALL)

_Name = TypeVar("_Name", str, int)


class _Unreadable(Exception):
    """A text that is no value, however loosely it is read."""


_Object = tuple[tuple[str, Any], ...]
"""The pairs of an object, of which two may have one name."""


def read_choice(text: str, schema: Mapping[str, Any]) -> dict[str, str] | None:
    """Find the one option that an answer means. Return the object that the schema asks for; None: there is none."""
    required = schema.get("required", ())
    options = schema.get("properties", {}).get(required[0], {}).get("enum") if len(required) == 1 else None
    if not options or not all(isinstance(option, str) for option in options):
        return None
    meant = _Options(required[0], options).meant(text)
    return {required[0]: meant} if meant is not None else None


class _Options:
    """The options of a choice, as a model may write them."""

    def __init__(self, name: str, options: Sequence[str]) -> None:
        self._name = _folded(name)
        self._options = frozenset(options)
        self._by_text = _only_ones((_folded(option), option) for option in options)
        ends = ((_ENDS_IN_NUMBER.fullmatch(option), option) for option in options)
        self._by_number = _only_ones((int(end[1]), option) for end, option in ends if end)

    def meant(self, text: str) -> str | None:
        """Read an answer. Return the option that it means, and None for none or several."""
        alone = self._alone(text)
        if alone is not None:
            return alone
        found = self._within_text(text, _MOST_STRINGS)
        return found.pop() if len(found) == 1 else None

    def _alone(self, text: str) -> str | None:
        """Read an answer that is an option and nothing else, or has the name of the choice before it."""
        if len(text) > _LONGEST_ALONE:
            return None
        name, mark, rest = text.partition(":")
        text = rest if mark and _folded(name.strip(_AROUND)) == self._name else text
        word = text.strip(_AROUND)
        number = _NUMBER.fullmatch(word)
        return (
            self._option_of(text) or self._option_of(word) or (self._by_number.get(int(number[1])) if number else None)
        )

    def _option_of(self, text: str) -> str | None:
        return text if text in self._options else self._by_text.get(_folded(text))

    def _within_text(self, text: str, strings: int) -> set[str | None]:
        return _united(self._within(value, strings) for value in _values(text))

    def _within(self, value: Any, strings: int) -> set[str | None]:
        """Look for the choice in a value. Return its options, with None for what is no option."""
        if isinstance(value, tuple):
            pairs = cast("_Object", value)
            own = self._named(pairs)
            return self._chosen(own, strings) if own else _united(self._within(item, strings) for _, item in pairs)
        if isinstance(value, list):
            items = cast("list[Any]", value)
            if len(items) == 1 and isinstance(items[0], str | int):
                return self._chosen(items, strings)
            return _united(self._within(item, strings) for item in items)
        if isinstance(value, str) and strings and "{" in value:
            return self._within_text(value, strings - 1)
        return set()

    def _named(self, pairs: _Object) -> list[Any]:
        """List what stands under the name of the choice or, without it, under another name for it."""
        own = [item for name, item in pairs if _folded(name) == self._name]
        return own or [item for name, item in pairs if _folded(name) in _OTHER_NAMES]

    def _chosen(self, values: Iterable[Any], strings: int) -> set[str | None]:
        return _united(self._one_chosen(value, strings) for value in values)

    def _one_chosen(self, value: Any, strings: int) -> set[str | None]:
        if isinstance(value, list) and len(cast("list[Any]", value)) == 1:
            return self._chosen(cast("list[Any]", value), strings)
        if isinstance(value, int):
            return {self._by_number.get(value)}
        if isinstance(value, str) and (option := self._option_of(value)):
            return {option}
        return self._within(value, strings) or {None}


def _values(text: str) -> Iterator[Any]:
    """Read a text that is one value, or the objects in it. Yield each."""
    at, tries = text.find("{"), 0
    begun = text.lstrip()[:1]
    if begun in {'"', "["}:
        try:
            value, end = _Reader(text).read(0, 0)
        except _Unreadable:
            pass
        else:
            yield value
            at = text.find("{", end)
    while at >= 0 and tries < _MOST_OBJECTS:
        tries += 1
        try:
            value, end = _Reader(text).read(at, 0)
        except _Unreadable:
            end = at + 1
        else:
            yield value
        at = text.find("{", end)
    if at >= 0:
        yield (("value", None),)  # something unread may name another option


class _Reader:
    """Reads values from a text, each from a place on."""

    def __init__(self, text: str) -> None:
        self._text = text

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
        number = _NUMBER.fullmatch(text) if token["word"] else None
        return (int(number[1]) if number else text), token.end()

    def _object(self, at: int, depth: int) -> tuple[_Object, int]:
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
        token = _TOKEN.match(self._text, at)
        if token is None:
            raise _Unreadable
        return token


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


def _folded(text: str) -> str:
    return text.strip().casefold()


def _only_ones(pairs: Iterable[tuple[_Name, str]]) -> dict[_Name, str]:
    """Map names to the options that they name. Return the map, without names of several options."""
    found: dict[_Name, set[str]] = {}
    for name, option in pairs:
        found.setdefault(name, set()).add(option)
    return {name: options.pop() for name, options in found.items() if len(options) == 1}


def _united(found: Iterable[set[str | None]]) -> set[str | None]:
    return set[str | None]().union(*found)
