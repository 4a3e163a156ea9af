"""Statements of few shapes: databases, drivers and SQLAlchemy keep each text of a statement that they have seen.

A list of values is lengthened to a power of two by repeating its last value, which changes nothing: lists of 1 to 500
values make ten texts, and not 500.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement

T = TypeVar("T")


def padded(values: Sequence[T]) -> Sequence[T]:
    """Lengthen values to a power of two by repeating the last one. Return them; none stay none."""
    missing = (1 << (len(values) - 1).bit_length()) - len(values) if values else 0
    return [*values, *(values[-1],) * missing] if missing else values


def among(column: Column[Any], values: Sequence[Any]) -> ColumnElement[bool]:
    """Return the condition that a column has one of some values."""
    return column.in_(padded(values))
