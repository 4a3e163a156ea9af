"""A page of a list: so many rows from an offset, and a sign of more."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Generic, TypeVar, cast

from sqlalchemy import ColumnElement, Select
from sqlalchemy.engine import Connection

T = TypeVar("T")

_AT_ONCE = 50
"""Rows that are fetched at once: one by one they cost twice as much, and all may be more than a page holds."""

_NESTED = frozenset({dict, list})

PAGE_CHARACTERS = 2_000_000
"""The text after which a page takes no more rows, however many it may have."""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a list that a caller asks for; a limit of 0 only asks for the sign of more."""

    limit: int
    offset: int = 0


@dataclass(frozen=True, slots=True)
class SortKey:
    """A field to sort by, and its direction."""

    field: str
    descending: bool = False


Sort = Sequence[SortKey]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows of a window. `continuation_token` is the offset of the next page, none after the last."""

    items: Sequence[T]
    has_more: bool
    continuation_token: int | None


def fetch_page(connection: Connection, query: Select[Any], window: Window, row: Callable[..., T]) -> Page[T]:
    """Fetch the rows of a query in a window. Return them as values.

    The query must be in a total order, or pages overlap, and select the fields of `row` in their order.
    """
    rows: list[T] = []
    characters = 0
    with connection.execute(query.limit(window.limit + 1).offset(window.offset)) as found:
        for values in chain.from_iterable(found.partitions(_AT_ONCE)):
            if len(rows) == window.limit or characters > PAGE_CHARACTERS:
                return Page(rows, has_more=True, continuation_token=window.offset + len(rows))
            rows.append(row(*values))
            for value in values:
                # Most values of the thousands are texts or plain: no call for them.
                if type(value) is str:
                    characters += len(value)
                else:
                    characters += _count_characters(value) if type(value) in _NESTED else 1
    return Page(rows, has_more=False, continuation_token=None)


def _count_characters(value: object) -> int:
    """Count the characters of a value as JSON has them, about. Return the number."""
    if isinstance(value, str):
        return len(value)
    if not value:
        return 1
    if isinstance(value, dict):
        items = cast("dict[str, object]", value).items()
        return sum(len(key) + _count_characters(item) + 1 for key, item in items)
    if isinstance(value, list):
        return sum(_count_characters(item) + 1 for item in cast("list[object]", value))
    return 1


def ordering(
    sort: Sort, columns: Mapping[str, ColumnElement[Any]], *otherwise: ColumnElement[Any]
) -> list[ColumnElement[Any]]:
    """List the terms for `order_by`. Return the asked fields, then `otherwise`, which must make the order total."""
    asked = [columns[key.field].desc() if key.descending else columns[key.field].asc() for key in sort]
    return [*asked, *otherwise]
