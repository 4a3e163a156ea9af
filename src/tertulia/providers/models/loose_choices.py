"""A choice that a model wrote in a form near the asked one: a reading of last resort, after the strict one has failed.

The option may stand under `value` or `answer`, in a list, in a string of JSON, in another case, as a number, or alone
as the whole answer. An answer that names two options, or something else beside one, or denies the one, is none. A
choice of the asked form is confirmed by the value that it stands within.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, cast

from tertulia.providers.models.denials import field_denies, name_denies, names_any, text_denies
from tertulia.providers.models.loose_values import Found, Object, values_in, whole_number

_OTHER_NAMES = frozenset({"value", "answer"})
_MOST_STRINGS = 3
"""Strings of JSON within each other."""
_LONGEST_ALONE = 1000
_AROUND = " \t\r\n`*.„\"'“”\u2018\u2019"
_FENCE = re.compile(r"```\w*|json\b")
_KEY = re.compile(r"(?:[^\W\d_]+[-_ .:#]?)?0*(\d{1,9})", re.ASCII)
_WORD = re.compile(r"[\w-]+")

_Name = TypeVar("_Name", str, int)


def read_choice(text: str, schema: Mapping[str, Any]) -> dict[str, str] | None:
    """Find the one option that an answer means. Return the object that the schema asks for; None: there is none."""
    options = _options_of(schema)
    meant = options.meant(text) if options else None
    return {schema["required"][0]: meant} if meant is not None else None


def confirmed(text: str, found: Found, schema: Mapping[str, Any]) -> Found | None:
    """Look at the value around one of the asked form. Return what the whole means, None if it denies what is within.

    What is no choice is confirmed as it is. Prose beside a value of the asked form is not read: models remark all sorts
    of things there, and the form is clear.
    """
    options = _options_of(schema)
    if options is None or not isinstance(found.value, dict):
        return found
    name: str = schema["required"][0]
    value = cast("dict[str, Any]", found.value)
    option = options.confirmed(text, found, value[name])
    return None if option is None else found._replace(value={**value, name: option})


def _options_of(schema: Mapping[str, Any]) -> "_Options | None":
    """Read the schema of a choice. Return its options; None if it is no choice between texts."""
    required = schema.get("required", ())
    options = schema.get("properties", {}).get(required[0], {}).get("enum") if len(required) == 1 else None
    if not options or not all(isinstance(option, str) for option in options):
        return None
    return _Options(required[0], options)


class _Options:
    """The options of a choice, as a model may write them."""

    def __init__(self, name: str, options: Sequence[str]) -> None:
        self._name = _folded(name)
        self._options = frozenset(options)
        self._by_text = _only_ones((_folded(option), option) for option in options)
        self._by_number = _by_number(options)

    def meant(self, text: str) -> str | None:
        """Read an answer. Return the option that it means, and None for none or several."""
        alone = self._alone(text)
        if alone is not None:
            return alone
        found = self._within_text(text, _MOST_STRINGS)
        return found.pop() if len(found) == 1 else None

    def confirmed(self, text: str, found: Found, option: str) -> str | None:
        """Look at the value around an option that stands in the asked form. Return what the whole means."""
        around = next((each for each in values_in(text) if each.begin <= found.begin and found.end <= each.end), found)
        if around.value is not None and around[1:] != found[1:]:
            meant = self._within(around.value, _MOST_STRINGS)
            if len(meant) != 1 or None in meant:
                return None
            return str(*meant)
        return option

    def _alone(self, text: str) -> str | None:
        """Read an answer that is an option and nothing else, or has the name of the choice before it."""
        if len(text) > _LONGEST_ALONE:
            return None
        name, mark, rest = text.partition(":")
        text = rest if mark and _folded(name.strip(_AROUND)) == self._name else text
        word = text.strip(_AROUND)
        return self._option_of(text) or self._option_of(word) or self._numbered(whole_number(word))

    def _option_of(self, text: str) -> str | None:
        return text if text in self._options else self._by_text.get(_folded(text))

    def _numbered(self, number: int | None) -> str | None:
        return None if number is None else self._by_number.get(number)

    def _within_text(self, text: str, strings: int) -> set[str | None]:
        """Look for the choice in a text of values. Return its options, with None for what is none or is denied."""
        values = [*values_in(text)]
        if any(found.value is None for found in values):
            return {None}  # something unread may name another option
        found = _united(self._within(each.value, strings, alone=True) for each in values)
        ends = [0, *(each.end for each in values)]
        begins = [*(each.begin for each in values), len(text)]
        beside = " ".join(text[end:begin] for end, begin in zip(ends, begins, strict=True))
        return found | {None} if found and self._denied_by(beside, values[0].value, found) else found

    def _denied_by(self, beside: str, first: Any, found: set[str | None]) -> bool:
        """Judge the text around values. A bare list has to be the whole answer."""
        if isinstance(first, list):
            return re.search(r"\w", _FENCE.sub("", beside)) is not None
        return text_denies(beside) or names_any(beside, self._options - {option for option in found if option})

    def _within(self, value: Any, strings: int, *, alone: bool = False) -> set[str | None]:
        """Look for the choice in a value, which stands `alone` or within another. Return its options, with None for
        what is no option."""
        if isinstance(value, tuple):
            return self._within_object(cast("Object", value), strings, alone=alone)
        if isinstance(value, list):
            items = cast("list[Any]", value)
            if alone and len(items) == 1 and isinstance(items[0], str | int):
                return self._chosen(items, strings)
            return _united(self._within(item, strings) for item in items)
        if isinstance(value, str) and strings and "{" in value:
            return self._within_text(value, strings - 1)
        return set()

    def _within_object(self, pairs: Object, strings: int, *, alone: bool) -> set[str | None]:
        meant = [(_folded(name), item) for name, item in pairs if not self._denies(name)]
        own = [item for name, item in meant if name == self._name]
        other = [item for name, item in meant if name in _OTHER_NAMES]
        if own:
            found = self._chosen(own, strings)
            found |= _united(self._within(item, strings) for item in other)
        elif other:
            numbers = alone and len(pairs) == 1
            found = self._chosen([item for item in other if numbers or not isinstance(item, int)] or [None], strings)
        else:
            found = _united(self._within(item, strings) for _, item in meant)
        found |= self._named_beside(meant) if found else set()
        denied = _united(self._spoken_of(item) for name, item in pairs if self._denies(name))
        contradicts = any(field_denies(name, item) for name, item in pairs) or found & denied
        return found | {None} if found and contradicts else found

    def _denies(self, name: str) -> bool:
        return _folded(name) != self._name and name_denies(name)

    def _named_beside(self, pairs: Iterable[tuple[str, Any]]) -> set[str | None]:
        """List the options that other fields of a choice are. Return them."""
        texts = [item for name, item in pairs if name != self._name and isinstance(item, str)]
        return {option for text in texts if (option := self._option_of(text))}

    def _spoken_of(self, value: Any) -> set[str | None]:
        """List the options that stand anywhere in a value."""
        if isinstance(value, str):
            return {option} if (option := self._option_of(value)) else set()
        if isinstance(value, tuple):
            return _united(self._spoken_of(item) for _, item in cast("Object", value))
        return _united(map(self._spoken_of, cast("list[Any]", value))) if isinstance(value, list) else set()

    def _chosen(self, values: Iterable[Any], strings: int) -> set[str | None]:
        return _united(self._one_chosen(value, strings) for value in values)

    def _one_chosen(self, value: Any, strings: int) -> set[str | None]:
        if isinstance(value, list) and len(cast("list[Any]", value)) == 1:
            return self._chosen(cast("list[Any]", value), strings)
        if isinstance(value, int):
            return {self._by_number.get(value)}
        if isinstance(value, str) and (option := self._option_of(value)):
            return {option}
        return self._within(value, strings, alone=True) or {None}


def _by_number(options: Sequence[str]) -> Mapping[int, str]:
    """Map numbers to the options that end in them: none if an option is more than a key, for its number may count."""
    keys = [_KEY.fullmatch(option) for option in options]
    if not all(key or _WORD.fullmatch(option) for key, option in zip(keys, options, strict=True)):
        return {}
    return _only_ones((int(key[1]), option) for key, option in zip(keys, options, strict=True) if key)


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
