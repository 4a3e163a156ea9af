"""JSON as speech servers write it, with the numbers of JavaScript and Python that JSON does not have."""

import json
from typing import Any, cast

import msgspec


def read_json(data: bytes) -> Any:
    """Decode a body. Return its value; NaN and the infinities are floats. Raises ValueError if it is no JSON."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return json.loads(data.decode(errors="replace").removeprefix("\ufeff"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def fields_of(value: object) -> dict[str, Any]:
    """Take a value for an object of JSON. Return its fields, none if it is something else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def items_of(value: object) -> list[Any]:
    """Take a value for an array of JSON. Return its items, none if it is something else."""
    return cast("list[Any]", value) if isinstance(value, list) else []
