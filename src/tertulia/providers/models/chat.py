"""What every chat model has in common: the messages it is sent, and the JSON that it answers a choice with."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from tertulia.errors import ModelMisbehaved
from tertulia.providers.base import Prompt
from tertulia.providers.models import schema as schemas

_JSON = re.compile(r"[\[{].*[\]}]", re.DOTALL)


def messages(prompt: Prompt) -> list[dict[str, str]]:
    """A prompt as chat completions take it."""
    system = [{"role": "system", "content": prompt.system}] if prompt.system else []
    return system + [{"role": turn.role, "content": turn.content} for turn in prompt.turns]


def answer(text: str, schema: Mapping[str, Any]) -> Any:
    """The JSON value in a model's answer, bare or with words or a fence around it.

    Raises ModelMisbehaved where there is none that satisfies the schema.
    """
    for candidate in (text, *_JSON.findall(text)):
        try:
            value = msgspec.json.decode(candidate)
        except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
            continue
        if schemas.fits(value, schema):
            return value
    raise ModelMisbehaved(f"an answer of {len(text)} characters is not of the asked form")
