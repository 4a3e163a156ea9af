"""The arguments of a call, judged by the JSON schema of its tool."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn

import jsonschema_rs
import msgspec

MOST_SCHEMA_BYTES = 65_536
"""The size of an input schema as JSON."""

LONGEST_PROBLEM = 300
"""Characters of a problem in words."""

_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
"""The character NUL as JSON writes it; no database takes it."""


def problem_of_schema(schema: Mapping[str, Any]) -> str | None:
    """Look for a reason for which a schema cannot judge arguments. Return it in words, or None.

    References lead within the schema alone: nothing is fetched. Patterns are those that are matched in linear time.
    """
    if schema.get("type") != "object":
        return 'This must be the JSON schema of an object: {"type": "object", "properties": {...}}.'
    try:
        encoded = msgspec.json.encode(schema)
    except (ValueError, RecursionError):  # halves of surrogate pairs, say
        return "A schema has values of JSON alone, and is not nested too deeply."
    if _NUL.search(encoded):
        return "The character NUL is not allowed in a schema."
    if len(encoded) > MOST_SCHEMA_BYTES:
        return f"An input schema has at most {MOST_SCHEMA_BYTES} bytes as JSON."
    try:
        _validator(encoded)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        return _cut(str(error).partition("\n")[0])
    return None


def problem_of_arguments(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> str | None:
    """Look for the first reason for which arguments do not fit a schema without problems. Return it in words, or None.

    The place of the wrong value comes first, as in `guests.0.name: 3 is not of type "string"`.
    """
    validator = _validator(msgspec.json.encode(schema))
    error = next(validator.iter_errors(dict(arguments)), None)
    if error is None:
        return None
    place = ".".join(map(str, error.instance_path))
    return _cut(f"{place}: {error.message}" if place else error.message)


@lru_cache(maxsize=256)
def _validator(encoded: bytes) -> Any:
    schema: dict[str, Any] = msgspec.json.decode(encoded)
    return jsonschema_rs.validator_for(schema, retriever=_refuse, pattern_options=jsonschema_rs.RegexOptions())


def _refuse(uri: str) -> NoReturn:
    raise ValueError("references to other documents are not followed")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_PROBLEM else f"{text[: LONGEST_PROBLEM - 3]}..."
