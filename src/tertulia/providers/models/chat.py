"""The common part of all chat models: the messages that they are sent, and the JSON that they answer a choice with."""

import json
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import structlog
from prometheus_client import Counter
from structlog.typing import FilteringBoundLogger

from tertulia.errors import ModelError, ModelMisbehaved, ModelUnavailable
from tertulia.providers.base import Prompt
from tertulia.providers.models import schema as schemas
from tertulia.providers.models.loose_choices import confirmed, read_choice
from tertulia.providers.models.loose_values import Found
from tertulia.providers.models.thoughts import ThoughtFilter

_log: FilteringBoundLogger = structlog.get_logger(__name__)

CUT_SHORT = Counter("tertulia_model_replies_cut_short", "Replies that a model's server cut short.", ["reason"])
"""By `length` and `content_filter`."""

_BEGINS = re.compile(r"[\[{]")
_MOST_BEGINNINGS = 2_000
_MOST_WORK_CHARS = 4 << 20
_scan = json.JSONDecoder().raw_decode


def messages(prompt: Prompt) -> list[dict[str, str]]:
    """Write a prompt as chat completions take it. Return the messages; only the first can be a system message."""
    system = [{"role": "system", "content": prompt.system}] if prompt.system else []
    return system + [{"role": turn.role, "content": turn.content} for turn in prompt.asked]


def answer(text: str, schema: Mapping[str, Any]) -> Any:
    """Find the JSON in a model's answer, among thoughts, fences, drafts and remarks. Return the last value that fits.

    Thoughts are searched if there is none beside them. A choice that is near the asked form is understood, and one that
    the fields around it deny is none.

    Raises:
        ModelMisbehaved: no value satisfies the schema, or it is not clear which one is meant.
    """
    thoughts = ThoughtFilter()
    said = thoughts.feed(text) + thoughts.finish()
    for candidate in (said, text) if len(said) < len(text) else (text,):
        if found := _last_fitting(candidate, schema):
            return _unless_denied(candidate, found, schema)
    loose = read_choice(said, schema)
    if loose is not None and schemas.fits(loose, schema):
        return loose
    raise ModelMisbehaved(f"an answer of {len(text)} characters is not of the asked form")


def begins_in_thought(text: str) -> bool:
    """Judge a whole answer: does it begin with a thought that has no opening tag?"""
    thoughts = ThoughtFilter()
    thoughts.feed(text)
    return thoughts.closed_alone


def report_cut(model: str, address: str, reason: str) -> None:
    """Make it visible that a reply was cut short: in the log and in the metrics."""
    CUT_SHORT.labels(reason).inc()
    _log.warning("A model's reply was cut short.", model=model, address=address, reason=reason)


def unexpected(error: Exception) -> ModelError:
    """Translate an error that an adapter did not expect. Return one of ours; the log has the whole."""
    if isinstance(error, ModelError):
        return error
    _log.error("A model's adapter failed.", exc_info=error)
    return ModelUnavailable(f"the adapter failed: {type(error).__name__}")


def _unless_denied(text: str, found: Found, schema: Mapping[str, Any]) -> Any:
    """Look at the object around a value of an answer. Return the value that the answer means.

    Raises:
        ModelMisbehaved: the answer denies the value.
    """
    meant = confirmed(text, found, schema)
    if meant is None or not schemas.fits(meant.value, schema):
        raise ModelMisbehaved("an answer that denies what it chooses")
    return meant.value


def _last_fitting(text: str, schema: Mapping[str, Any]) -> Found | None:
    """Find the last value of a text that fits, and of several within each other the outermost. Return it."""
    whole = _decoded(text.strip(), schema)
    if whole:
        return Found(whole[0], 0, len(text))
    best: Found | None = None
    best_end = work = 0
    for begin in reversed([found.start() for found in _BEGINS.finditer(text)][-_MOST_BEGINNINGS:]):
        try:
            end = _scan(text, begin)[1]
        except json.JSONDecodeError as error:
            work += error.pos - begin
        except (ValueError, RecursionError):
            work += len(text) - begin
        else:
            work += end - begin
            if end >= best_end and (found := _decoded(text[begin:end], schema)):
                best, best_end = Found(found[0], begin, end), end
        if work > _MOST_WORK_CHARS:
            break
    return best


def _decoded(text: str, schema: Mapping[str, Any]) -> tuple[Any] | None:
    """Decode a text. Return its value, boxed, if that fits."""
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None
    return (value,) if schemas.fits(value, schema) else None
