"""Wrong and unknown fields in plain words: the errors of pydantic, without a word of Python or of what was sent.

A problem is `{"type", "loc", "msg"}`, FastAPI's form of an item of a 422.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import count
from typing import Any, cast

from pydantic import BaseModel
from pydantic_core import ValidationError

Problem = dict[str, Any]

Place = tuple[str | int, ...]
"""The names and numbers that lead to a field."""

MOST_UNKNOWN = 100
"""Fields that are told as not known, at most about."""

OBJECT, LIST, NUMBER, WHOLE = "object_type", "list_type", "float_type", "int_type"
_CONTAINERS = frozenset({dict, list})
_OTHER = "This value is not valid."

_TYPES = {
    "model_type": OBJECT,
    "model_attributes_type": OBJECT,
    "dict_type": OBJECT,
    "mapping_type": OBJECT,
    "tuple_type": LIST,
    "set_type": LIST,
    "frozen_set_type": LIST,
    "iterable_type": LIST,
    "int_parsing": WHOLE,
    "int_from_float": WHOLE,
    "float_parsing": NUMBER,
    "bool_parsing": "bool_type",
    "enum": "literal_error",
    "time_delta_parsing": "time_delta_type",
}
"""Kinds of problem that are one to a caller, by pydantic's names for them."""

_DURATION = "a duration is ISO 8601, for example P7D or PT12H, or a number of seconds."

_TEXTS = {
    "missing": "This field is required.",
    "extra_forbidden": "This field is not known.",
    OBJECT: "This must be an object.",
    LIST: "This must be a list.",
    WHOLE: "This must be a whole number.",
    NUMBER: "This must be a number.",
    "bool_type": "This must be true or false.",
    "string_type": "This must be text.",
    "string_unicode": "This is not text in Unicode.",
    "string_pattern_mismatch": "This must match the pattern {pattern}",
    "string_too_short": "This must have at least {min_length} characters.",
    "string_too_long": "This must have at most {max_length} characters.",
    "too_short": "This must have at least {min_length} items.",
    "too_long": "This must have at most {max_length} items.",
    "int_parsing_size": "This number is too large.",
    "finite_number": "This number must be finite.",
    "greater_than": "This must be greater than {gt}.",
    "greater_than_equal": "This must be at least {ge}.",
    "less_than": "This must be less than {lt}.",
    "less_than_equal": "This must be at most {le}.",
    "multiple_of": "This must be a multiple of {multiple_of}.",
    "literal_error": "This must be {expected}.",
    "union_tag_invalid": "The field {discriminator} must be one of {expected_tags}.",
    "union_tag_not_found": "The field {discriminator} is required.",
    "time_delta_type": f"This must be a duration; {_DURATION}",
    "datetime_type": "This must be a date and time in ISO 8601.",
    "datetime_parsing": "This must be a date and time in ISO 8601.",
    "datetime_from_date_parsing": "This must be a date and time in ISO 8601.",
    "timezone_aware": "This time must have an offset, for example Z.",
    "json_invalid": "This is not valid JSON.",
    "json_type": "This must be JSON.",
    "url_type": "This must be the address of a web page.",
    "url_parsing": "This must be the address of a web page.",
    "url_scheme": "This address must begin with {expected_schemes}.",
    "url_too_long": "This address must have at most {max_length} characters.",
}
_NOT_EMPTY = {"string_too_short": "This must not be empty.", "too_short": "This must have at least one item."}
_EMAIL = "This must be an email address."


def of_validation(error: ValidationError, sent: object, at: Sequence[str | int] = ()) -> list[Problem]:
    """Describe everything that is wrong with a value that was sent. Return one problem for each place in it.

    `at` is the way to the value itself, for example `("body",)`.
    """
    return of_errors(error.errors(include_url=False, include_input=False), sent, at)


def of_request(errors: Iterable[Mapping[str, Any]], body: object) -> list[Problem]:
    """Describe errors as FastAPI lists them for a request. Return one problem for each place in it."""
    found: list[Problem] = []
    for error in errors:
        part, *steps = error["loc"]
        if part == "body":
            found += of_errors([{**error, "loc": steps}], body, ("body",))
        else:  # a parameter has a name, and its item a number
            numbers = [step for step in steps[1:] if isinstance(step, int)]
            found.append(_problem(error, [part, *steps[:1], *numbers]))
    return found


def of_errors(errors: Iterable[Mapping[str, Any]], sent: object, at: Sequence[str | int] = ()) -> list[Problem]:
    """Describe errors as pydantic lists them. Return one problem for each place in what was sent."""
    found: dict[tuple[str | int, ...], Problem] = {}
    for error in errors:
        place = (*at, *_followed(error["loc"], sent, keep_last=error["type"] == "missing"))
        found.setdefault(place, _problem(error, place))
    return list(found.values())


def _problem(error: Mapping[str, Any], place: Sequence[str | int]) -> Problem:
    return {"type": _TYPES.get(error["type"], error["type"]), "loc": list(place), "msg": text_of(error)}


def text_of(error: Mapping[str, Any]) -> str:
    """Say in plain words what one error of pydantic means. Return a sentence that repeats nothing of what was sent."""
    kind: str = error["type"]
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == "value_error":
        return _text_of_ours(context.get("error"))
    if kind in _NOT_EMPTY and context.get("min_length") == 1:
        return _NOT_EMPTY[kind]
    text = _TEXTS.get(_TYPES.get(kind, kind), _OTHER).format_map(context)
    if isinstance(context.get("ge", context.get("le")), str):  # a duration: who writes 7 may mean days
        text = f"{text[:-1]}; {_DURATION}"
    return text.replace(" 1 items", " one item").replace(" 1 characters", " one character")


def _text_of_ours(error: object) -> str:
    """Say what a validator of ours, or that of email addresses, means. Return its sentence."""
    if isinstance(error, ValidationError):
        return text_of(error.errors(include_url=False, include_input=False)[0])
    return _EMAIL if error is None else str(error)


def _followed(steps: Sequence[str | int], sent: object, *, keep_last: bool) -> list[str | int]:
    """Follow a way through what was sent. Return its steps without those that are pydantic's own."""
    followed: list[str | int] = []
    for number, step in enumerate(steps):
        if isinstance(sent, dict) and step in sent:
            sent = cast("dict[object, object]", sent)[step]
        elif isinstance(sent, list | tuple) and isinstance(step, int) and step < len(cast("list[object]", sent)):
            sent = cast("list[object]", sent)[step]
        elif not (keep_last and number == len(steps) - 1):
            continue
        followed.append(step)
    return followed


def unknown_fields(value: object, sent: object) -> list[Place]:
    """Compare a checked value with what was sent. Return the places of the fields that its type does not know."""
    found: list[Place] = []
    _collect_unknown(value, sent, (), found)
    return found


def _collect_unknown(value: object, sent: object, path: Place, found: list[Place]) -> None:
    if value is sent or len(found) >= MOST_UNKNOWN:  # any value is allowed here, or enough is known
        return
    if isinstance(value, BaseModel) and isinstance(sent, dict):
        attributes = _attributes(type(value))
        for name, item in cast("dict[str, object]", sent).items():
            if len(found) >= MOST_UNKNOWN:
                return
            if name not in attributes:
                found.append((*path, name))
            elif type(item) in _CONTAINERS:
                _collect_unknown(getattr(value, attributes[name]), item, (*path, name), found)
        return
    for name, part, item in _pairs(value, sent):
        if type(item) in _CONTAINERS:
            _collect_unknown(part, item, (*path, name), found)


def _pairs(value: object, sent: object) -> Iterable[tuple[str | int, object, object]]:
    """Pair the items of a list or object with what was sent for them. Return each pair with its name."""
    if isinstance(value, list | tuple) and isinstance(sent, list):
        return zip(count(), cast("list[object]", value), cast("list[object]", sent), strict=False)
    if isinstance(value, dict) and isinstance(sent, dict):
        keyed = cast("dict[str, object]", value)
        return zip(keyed, keyed.values(), cast("dict[str, object]", sent).values(), strict=False)
    return ()


@cache
def _attributes(kind: type[BaseModel]) -> dict[str, str]:
    """Return the attribute of a model for each name of the wire."""
    return {field.alias or name: name for name, field in kind.model_fields.items()}
