"""Tags: JSON objects of short texts, as lists filter by them."""

from typing import Any

from sqlalchemy import Column, ColumnElement

from tertulia.storage.database.dialect import json_kind, json_text


def tag_condition(column: Column[Any], key: str, value: str) -> ColumnElement[bool]:
    """Return the condition that an object of tags has a key with a value (`*`: any; empty: null)."""
    if value == "*":
        return json_kind(column, key).is_not(None)
    if not value:
        return json_kind(column, key) == "null"
    return json_text(column, key) == value
