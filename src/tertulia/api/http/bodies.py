"""JSON bodies: decoded, and checked without counting every mistake of a large one.

Making an error of pydantic takes longer than checking the value. So a body is checked first by a validator that stops
at the first wrong item of each list and object; everything that is wrong is told of small bodies only.
"""

import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from pydantic import TypeAdapter, ValidationError
from pydantic_core import CoreSchema, SchemaValidator

from tertulia import problems
from tertulia.errors import Unprocessable

SMALL = 2000
"""Values within a body of which everything is told that is wrong."""
DEEPEST = 100
"""Objects and lists within each other."""

_BOM = b"\xef\xbb\xbf"
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_NUL = "\0"
_APART = frozenset({"metadata", "serialization"})
_LISTS = frozenset({"list", "set", "frozenset", "tuple", "dict"})


def decode(body: bytes) -> Any:
    """Decode a JSON text whose strings and numbers every database can keep. Return its value.

    Raises:
        Unprocessable: the bytes are no JSON, or nested too deeply, or hold the character NUL.
    """
    try:
        value = msgspec.json.decode(body.removeprefix(_BOM))
    except UnicodeDecodeError as error:
        raise Unprocessable("This is not text in UTF-8.", ("body",)) from error
    except msgspec.DecodeError as error:
        raise Unprocessable(f"{error}.", ("body",)) from error
    except RecursionError as error:
        raise Unprocessable("This JSON is nested too deeply.", ("body",)) from error
    if body.count(b"[") + body.count(b"{") > DEEPEST and is_deeper(value, DEEPEST):
        raise Unprocessable("This JSON is nested too deeply.", ("body",))
    if b"\\u0000" in body and _has_nul(value):
        raise Unprocessable("The character NUL is not allowed in text.", ("body",))
    if _LONG_NUMBER.search(body) and _has_huge_number(value):
        raise Unprocessable("A whole number is beyond 64 bits.", ("body",))
    return value


class BodyReader:
    """A reader of the bodies of one operation: `annotation` is the type of its body."""

    def __init__(self, annotation: Any) -> None:
        self._adapter: TypeAdapter[Any] = TypeAdapter(annotation)
        self._hasty: SchemaValidator | None = None

    def read(self, sent: object) -> Any:
        """Check a decoded body. Return it as the operation's own type.

        Raises:
            Unprocessable: names what is wrong with it.
        """
        if self._hasty is None:  # made when it is first needed: a process starts faster
            self._hasty = SchemaValidator(_stopping_early(self._adapter.core_schema), _use_prebuilt=False)
        try:
            return self._hasty.validate_python(sent)
        except ValidationError as error:
            raise Unprocessable.listing(problems.of_validation(self._told(error, sent), sent, ("body",))) from None

    def _told(self, error: ValidationError, sent: object) -> ValidationError:
        """Look for everything that is wrong with a small body. Return that, or of a large one what was found first."""
        if is_larger(sent, SMALL):
            return error
        try:
            self._adapter.validate_python(sent)
        except ValidationError as whole:
            return whole
        return error


def is_larger(value: object, most: int) -> bool:
    """Count the values within a value of JSON, with the keys of objects. Return whether there are more than `most`."""
    waiting, seen = [value], 0
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            waiting += cast("dict[str, object]", part).values()
        elif isinstance(part, list):
            waiting += cast("list[object]", part)
        seen += 1
        if seen + len(waiting) > most:
            return True
    return False


def is_deeper(value: object, most: int) -> bool:
    """Measure how deep objects and lists stand within each other. Return whether deeper than `most`."""
    level = [value]
    for _ in range(most):
        level = [part for item in level for part in _parts(item) if isinstance(part, list | dict)]
        if not level:
            return False
    return True


def _parts(item: object) -> "list[object]":
    if isinstance(item, dict):
        return list(cast("dict[str, object]", item).values())
    return cast("list[object]", item) if isinstance(item, list) else []


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return _NUL in value
    if isinstance(value, dict):
        items = cast("dict[str, object]", value)
        return any(_NUL in key for key in items) or any(map(_has_nul, items.values()))
    return isinstance(value, list) and any(map(_has_nul, cast("list[object]", value)))


def _has_huge_number(value: object) -> bool:
    if isinstance(value, list | dict):
        return any(map(_has_huge_number, _parts(cast("object", value))))
    return isinstance(value, int) and not -(2**63) <= value < 2**63


def _stopping_early(schema: CoreSchema) -> CoreSchema:
    """Copy a schema of pydantic's core. Return the copy, in which each list and object is left at its first mistake."""
    return cast("CoreSchema", _copy(schema))


def _copy(part: object) -> object:
    if isinstance(part, dict):
        entries = cast("Mapping[str, object]", part)
        copied = {name: entry if name in _APART else _copy(entry) for name, entry in entries.items()}
        kind = entries.get("type")  # of a map of fields, the field of that name
        return {**copied, "fail_fast": True} if isinstance(kind, str) and kind in _LISTS else copied
    if isinstance(part, list):
        return [_copy(item) for item in cast("list[object]", part)]
    return tuple(map(_copy, cast("tuple[object, ...]", part))) if isinstance(part, tuple) else part
