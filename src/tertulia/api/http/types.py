"""The kinds of text and number that the wire knows, shared by all resources.

Text is stripped of surrounding whitespace before its length is checked. Numbers fit in the database's integers.
"""

import zoneinfo
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from tertulia import languages
from tertulia.ids import OBJECT_ID_PATTERN

MAX_INTEGER = 2**31 - 1

ObjectId = Annotated[str, StringConstraints(pattern=OBJECT_ID_PATTERN)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Text100 = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Text256 = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256)]
Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[\w\s]+$")]
"""Letters, digits, underscores and spaces."""
VersionNumber = Annotated[int, Field(gt=0, le=MAX_INTEGER)]

TagKey = Words
Tags = Annotated[dict[TagKey, Words | None], Field(max_length=20)]
"""Tags of a resource: the values are words, or null."""
TextTags = Annotated[dict[TagKey, Text100 | None], Field(max_length=20)]
"""Tags of a new conversation: the values are any short text, or null."""

Keyterm = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, pattern=r"^[a-z-]+( [a-z-]+){0,2}$")]
Keyterms = Annotated[list[Keyterm], Field(max_length=20)]
"""Terms of one to three lower-case words that transcription often gets wrong."""

_TIMEZONES = frozenset(zoneinfo.available_timezones())


def _language(code: str) -> str:
    if code not in languages.CODES:
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


class Tag(BaseModel):
    """A tag as lists show it."""

    key: str
    value: str | None


class LLMConfig(BaseModel):
    """A language model and its parameters, as a version set prefers them for an interaction."""

    llm_name: Text
    params: dict[str, Any] = {}
