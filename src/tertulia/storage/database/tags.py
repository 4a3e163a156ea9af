"""Tags: JSON objects of short texts, as lists filter by them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, ColumnElement

from tertulia.storage.database.dialect import JsonKind, JsonText
from tertulia.storage.database.shapes import padded


def tag_conditions(column: Column[Any], filters: Sequence[tuple[str, str]]) -> list[ColumnElement[bool]]:
    """List the conditions that an object of tags has each key with its value (`*`: any; empty: null). Return them.

    They stand kind by kind, each of which is padded: the order and the number of filters make few statements.
    """
    of_null = [key for key, value in filters if not value]
    of_any = [key for key, value in filters if value == "*"]
    of_text = [(key, value) for key, value in filters if value not in {"", "*"}]
    return [
        *(JsonKind(column, key) == "null" for key in padded(of_null)),
        *(JsonKind(column, key).is_not(None) for key in padded(of_any)),
        *(JsonText(column, key) == value for key, value in padded(of_text)),
    ]
