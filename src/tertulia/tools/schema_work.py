"""The work of judging a value by a JSON schema, bounded before it is done.

References let a schema of one kilobyte apply a part of it a billion times to one value, and nothing else of the process
goes on while a value is judged.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote

MOST_VALUES = 200_000
"""Values within each other, and beside each other, that are judged."""

_LONGEST_WAY = 300
"""Parts of a schema that stand within each other or lead to each other, for a value of some depth."""

_MOST_STEPS = 50_000
_ENDLESS = 10**12
_PATTERN_WEIGHT = 80
"""The work for a character that a pattern may be matched with, in values."""

_SAME_VALUE_LISTS = ("allOf", "anyOf", "oneOf")
_SAME_VALUE = ("not", "if", "then", "else")
_SAME_VALUE_NAMED = ("dependentSchemas", "dependencies")
_ANY_PART = ("additionalProperties", "additionalItems", "contains", "propertyNames", "items")
_LEFT_OVER = ("unevaluatedProperties", "unevaluatedItems")
_ELSEWHERE = ("$dynamicRef", "$recursiveRef")
_NAMES = ("$id", "id")


@dataclass(frozen=True, slots=True)
class Extent:
    """The extent of a value: how deep it is nested, the number of values in it, and of characters of its texts."""

    depth: int
    values: int
    chars: int


def extent_of(value: object) -> Extent:
    """Measure a value of JSON. Return its extent; it is not looked at any further beyond `MOST_VALUES`."""
    depth, values, chars = 0, 1, 0
    waiting: list[tuple[object, int]] = [(value, 0)]
    while waiting:
        found, level = waiting.pop()
        depth = max(depth, level)
        parts: Sequence[object] = ()
        if isinstance(found, str):
            chars += len(found)
        elif isinstance(found, dict):
            named = cast("dict[str, object]", found)
            parts = list(named.values())
            chars += sum(map(len, named))
        elif isinstance(found, list):
            parts = cast("list[object]", found)
        values += len(parts)
        if values > MOST_VALUES:
            break
        waiting += [(part, level + 1) for part in parts]
    return Extent(depth, values, chars)


def work_of(schema: Mapping[str, Any], extent: Extent, *, has_patterns: bool) -> int:
    """Bound the work of judging a value of an extent by a schema. Return it, in parts of the schema that are applied.

    Raises:
        ValueError: references cannot be followed, lead in a circle or too far; the text may be told.
    """
    values = extent.values + (extent.chars * _PATTERN_WEIGHT if has_patterns else 0)
    return values * _Walk(schema).of(schema, extent.depth)


class _Walk:
    """A walk through a schema that counts how often its parts are applied on the way to one place of a value."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._known: dict[tuple[int, int], int] = {}
        self._open: set[tuple[int, int]] = set()
        self._steps = 0

    def of(self, node: object, depth: int) -> int:
        """Count the parts that are applied to a value of a depth, and to what it holds on one way. Return the count."""
        if not isinstance(node, dict):
            return 1
        place = (id(cast("object", node)), depth)
        known = self._known.get(place)
        if known is None:
            self._enter(place)
            known = self._known[place] = self._count(cast("dict[str, Any]", node), depth)
            self._open.remove(place)
        return known

    def _enter(self, place: tuple[int, int]) -> None:
        self._steps += 1
        if place in self._open:
            raise ValueError("A reference of a schema leads back to itself.")
        if len(self._open) >= _LONGEST_WAY or self._steps > _MOST_STEPS:
            raise ValueError("References of a schema lead too far.")
        self._open.add(place)

    def _count(self, node: Mapping[str, Any], depth: int) -> int:
        if node is not self._root:
            _refuse_name(node)
        total = 1
        for part in _same_value(node):
            total += self.of(part, depth)
        for name in ("$ref", *_ELSEWHERE):
            if name in node:
                total += self.of(self._referred(name, node[name]), depth)
        if depth:
            total += self._count_parts(node, depth - 1)
        return min(_ENDLESS, total * 2 if any(name in node for name in _LEFT_OVER) else total)

    def _count_parts(self, node: Mapping[str, Any], depth: int) -> int:
        total = 0
        rows = [node.get("properties"), node.get("prefixItems")]
        if isinstance(node.get("items"), list):
            rows.append(node["items"])
        for row in rows:  # a part of the value meets one of these
            total += max((self.of(part, depth) for part in _each(row)), default=0)
        for part in _each(node.get("patternProperties")):
            total += self.of(part, depth)
        for name in (*_ANY_PART, *_LEFT_OVER):
            if isinstance(node.get(name), Mapping):
                total += self.of(node[name], depth)
        return total

    def _referred(self, name: str, reference: object) -> object:
        if name in _ELSEWHERE or not isinstance(reference, str) or reference[:2] not in {"#", "#/"}:
            raise ValueError("References of a schema lead to places within it, as in #/$defs/name.")
        found: Any = self._root
        for step in reference[2:].split("/") if len(reference) > 1 else ():
            if found is not self._root and isinstance(found, dict):
                _refuse_name(cast("dict[str, Any]", found))
            found = _within(cast("object", found), unquote(step).replace("~1", "/").replace("~0", "~"), reference)
        return found


def _same_value(node: Mapping[str, Any]) -> Iterator[object]:
    """List the parts of a schema that are applied to the same value as itself."""
    for name in (*_SAME_VALUE_LISTS, *_SAME_VALUE_NAMED):
        yield from _each(node.get(name))
    for name in _SAME_VALUE:
        if name in node:
            yield node[name]


def _each(parts: object) -> Sequence[object]:
    if isinstance(parts, Mapping):
        return list(cast("Mapping[str, object]", parts).values())
    return cast("list[object]", parts) if isinstance(parts, list) else ()


def _within(found: object, name: str, reference: str) -> object:
    if isinstance(found, Mapping) and name in found:
        return cast("Mapping[str, object]", found)[name]
    if isinstance(found, list) and name.isdecimal() and int(name) < len(cast("list[object]", found)):
        return cast("list[object]", found)[int(name)]
    raise ValueError(f"A reference of a schema leads nowhere: {reference[:100]}")


def _refuse_name(node: Mapping[str, Any]) -> None:
    """Refuse a part of a schema with a name of its own: references would lead elsewhere within it."""
    if any(isinstance(node.get(name), str) for name in _NAMES):
        raise ValueError("A part of a schema has no identifier of its own.")
