"""The kinds of text and number that the wire knows, shared by all resources.

Text is stripped of surrounding whitespace before its length is checked. Numbers fit in the database's integers.
"""

import zoneinfo
from typing import Annotated, Any, cast

import msgspec
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from tertulia import languages
from tertulia.api.http.bodies import is_deeper, is_larger
from tertulia.events import MAX_TEXT
from tertulia.ids import OBJECT_ID_PATTERN

MAX_INTEGER = 2**31 - 1

ObjectId = Annotated[str, StringConstraints(pattern=OBJECT_ID_PATTERN)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT)]
"""A text as long as anybody writes one."""
Texts = Annotated[list[Text], Field(max_length=1000)]
Text100 = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Text256 = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256, pattern=r"^[\w\s]+$")]
"""Letters, digits, underscores and spaces."""
VersionNumber = Annotated[int, Field(gt=0, le=MAX_INTEGER)]
AnyNumber = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]
"""A number that a database can look for, whether or not there can be one."""


def _distinct(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    """Read an object whose keys are stripped. Return it; keys that become one are refused, for one would be lost."""
    found = read(value)
    if isinstance(value, dict) and len(found) < len(cast("dict[Any, Any]", value)):
        raise ValueError("Two keys are the same without the spaces around them.")
    return found


TagKey = Words
Tags = Annotated[dict[TagKey, Words | None], Field(max_length=20), WrapValidator(_distinct)]
"""Tags of a resource: the values are words, or null."""
TextTags = Annotated[dict[TagKey, Text100 | None], Field(max_length=20), WrapValidator(_distinct)]
"""Tags of a new conversation: the values are any short text, or null."""

Keyterm = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=256, pattern=r"^[a-z-]+( [a-z-]+){0,2}$"),
]
Keyterms = Annotated[list[Keyterm], Field(max_length=20)]
"""Terms of one to three lower-case words that transcription often gets wrong."""

BOUNDED_BYTES, BOUNDED_VALUES, BOUNDED_DEPTH = 65_536, 2000, 20
"""The size of a `BoundedJson`: bytes as JSON, values within it, and objects and lists within each other."""


def _bounded(value: Any) -> Any:
    if is_larger(value, BOUNDED_VALUES):
        raise ValueError(f"This must hold at most {BOUNDED_VALUES} values.")
    if is_deeper(value, BOUNDED_DEPTH):
        raise ValueError(f"This must be nested at most {BOUNDED_DEPTH} deep.")
    if len(msgspec.json.encode(value)) > BOUNDED_BYTES:
        raise ValueError(f"This must have at most {BOUNDED_BYTES} bytes as JSON.")
    return value


BoundedJson = BeforeValidator(_bounded)
"""The bounds of JSON that is stored as it came: `Annotated[dict[str, Any], BoundedJson]`."""

_TIMEZONES = frozenset(zoneinfo.available_timezones())


def _language(code: str) -> str:
    if not languages.is_code(code):
        raise ValueError("This is no language code of ISO 639-3.")
    return code


def _timezone(name: str) -> str:
    if name not in _TIMEZONES:
        raise ValueError("This is no time zone of the IANA database.")
    return name


Language = Annotated[str, StringConstraints(min_length=3, max_length=3), AfterValidator(_language)]
"""A code of ISO 639-3, e.g. `eng`."""
Timezone = Annotated[str, AfterValidator(_timezone)]
"""A name of the IANA database, e.g. `Europe/Berlin`."""


class UserInfo(BaseModel):
    """The user who made or changed something."""

    org_id: str
    user_id: str


class Preferences(BaseModel):
    """A user's preferences. Null stands for the agent's own language, and for UTC."""

    enable_response_recommendation: bool
    preferred_language: str | None
    conversations_visible_to_admins: bool
    user_model_visible_to_admins: bool
    timezone: str | None
    audio_keyterms: list[str]


class NewPreferences(BaseModel):
    """Preferences as they are given, for a user or for the new users of an organization."""

    enable_response_recommendation: bool = False
    preferred_language: Language | None = None
    conversations_visible_to_admins: bool = True
    user_model_visible_to_admins: bool = True
    timezone: Timezone | None = None
    audio_keyterms: Keyterms = []


class Tag(BaseModel):
    """A tag as lists show it."""

    key: str
    value: str | None


class LLMConfig(BaseModel):
    """A language model and its parameters, as a version set prefers them for an interaction."""

    llm_name: Text
    params: dict[str, Any] = {}
