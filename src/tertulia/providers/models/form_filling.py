"""The filling in of a form by words alone, as the model that repeats does it: deterministic, without understanding.

A field is taken from the last message of the user that shares the beginning of a word with the field's name or
description; a number is the message's first number, a choice the first option that stands in it.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tertulia.providers.base import Prompt
from tertulia.providers.models.schema import Schema, fits

INTERACTION = "GenerateResult"

_LINE = re.compile(r"^(m\d+) \(user\): (.+)$", re.MULTILINE)
_WORD = re.compile(r"[^\W\d_]{3,}")
_COMMON_WORDS = (
    "and any are but can for has have her his how its not our that the their they this was what when where which who "
    "will with you your"
)
_COMMON = frozenset(_COMMON_WORDS.split())
_LONGEST_NUMBER = 18  # characters; a longer one does not fit into 64 bits
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_BEGINNING = 4
_NO = re.compile(r"\b(no|not|none|never|nothing|don't|doesn't|haven't|isn't)\b", re.IGNORECASE)


def fill_in(prompt: Prompt, form: Schema) -> dict[str, Any]:
    """Fill in a form whose fields are claims. Return the claims; a field that nobody spoke of is null."""
    said = [(key, text) for turn in prompt.turns for key, text in _LINE.findall(turn.content)]
    return {
        name: _claim(name, claim["anyOf"][0]["properties"]["value"], said) for name, claim in form["properties"].items()
    }


def _claim(name: str, schema: Schema, said: Iterable[tuple[str, str]]) -> Mapping[str, Any] | None:
    asked = _beginnings(f"{name} {schema.get('description', '')}".replace("_", " "))
    found = [(key, text) for key, text in said if asked & _beginnings(text)]
    for key, text in reversed(found):
        value = value_in(schema, text)
        if value is not None and fits(value, schema):
            return {"value": value, "message": key, "words": text}
    return None


def _beginnings(text: str) -> set[str]:
    return {word[:_BEGINNING] for word in _WORD.findall(text.casefold()) if word not in _COMMON}


def value_in(schema: Schema, text: str) -> Any:
    """Read a value of a schema from a message. Return it, or None."""
    if "enum" in schema:
        return next((option for option in schema["enum"] if str(option).casefold() in text.casefold()), None)
    kinds = schema.get("type", "string")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind in ("number", "integer"):
        number = _NUMBER.search(text)
        return (
            None
            if number is None or len(number[0]) > _LONGEST_NUMBER
            else int(number[0])
            if number[0].lstrip("-").isdecimal()
            else float(number[0])
        )
    if kind == "boolean":
        return _NO.search(text) is None
    return text if kind == "string" else None
