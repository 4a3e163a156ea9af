"""The arguments of a call, judged by the JSON schema of its tool."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NoReturn

import jsonschema_rs
import msgspec

from tertulia.tools.schema_work import MOST_VALUES, Extent, extent_of, work_of

MOST_SCHEMA_BYTES = 65_536
"""The size of an input schema as JSON."""

MOST_WORK = 8_000_000
"""The work of judging arguments: some tenth of a second, in which the process does nothing else."""

MOST_WORK_TO_TELL = 16_000
"""The work beyond which a problem is not looked for: an error of each part that does not fit takes as long as 2,000."""

MOST_WORK_OF_LITTLE = 20_000
"""The work of judging small arguments of some depth by any schema."""

_LITTLE = Extent(depth=4, values=1, chars=0)

MOST_PATTERN_BYTES = 32_768
"""The size of a compiled pattern of a schema: no character takes it more than a microsecond."""

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
        _refuse_endless(schema)
        _validator(encoded)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
        return _cut(str(error).partition("\n")[0])
    return None


def problem_of_arguments(arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> str | None:
    """Look for the first reason for which arguments do not fit a schema without problems. Return it in words, or None.

    The place of the wrong value comes first, as in `guests.0.name: 3 is not of type "string"`.
    """
    encoded = msgspec.json.encode(schema)
    extent = extent_of(dict(arguments))
    try:
        work = work_of(schema, extent, has_patterns=b'"pattern' in encoded or b'"format"' in encoded)
    except ValueError as error:
        return str(error)
    if extent.values > MOST_VALUES or work > MOST_WORK:
        return "The arguments are too large, or nested too deeply, for the schema of the tool."
    validator = _validator(encoded)
    if work > MOST_WORK_TO_TELL:
        return None if validator.is_valid(dict(arguments)) else "The arguments do not fit the schema of the tool."
    error = next(validator.iter_errors(dict(arguments)), None)
    if error is None:
        return None
    place = ".".join(map(str, error.instance_path))
    return _cut(f"{place}: {error.message}" if place else error.message)


def _refuse_endless(schema: Mapping[str, Any]) -> None:
    """Raise ValueError if even small arguments would be much work by a schema."""
    if work_of(schema, _LITTLE, has_patterns=False) > MOST_WORK_OF_LITTLE:
        raise ValueError("Parts of a schema are applied to one value too often.")


_PATTERNS = jsonschema_rs.RegexOptions(size_limit=MOST_PATTERN_BYTES)


@lru_cache(maxsize=256)
def _validator(encoded: bytes) -> Any:
    schema: dict[str, Any] = msgspec.json.decode(encoded)
    return jsonschema_rs.validator_for(schema, retriever=_refuse, pattern_options=_PATTERNS)


def _refuse(uri: str) -> NoReturn:
    raise ValueError("references to other documents are not followed")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_PROBLEM else f"{text[: LONGEST_PROBLEM - 3]}..."
