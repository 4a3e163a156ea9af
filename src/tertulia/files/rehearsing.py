"""A turn beside what a conversation's file says must come of it. Pure: values in, values out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from tertulia.files.folder import Step
from tertulia.vocabulary import has_quote

Difference = tuple[str, str]
"""The field of a step that is not as the file says, and a sentence."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """An outcome of a turn. `behavior` is the name of the dynamic behaviour that was chosen, if one was."""

    reply: str
    state: str
    events: Sequence[str]
    finished: bool
    behavior: str | None
    tools: Sequence[str]


def differences(step: Step, outcome: Outcome, behaviors: Mapping[str, str]) -> Iterator[Difference]:
    """Compare a turn with its step. Yield each difference.

    `behaviors` are the names on the server of those of the folder, by the names of their files.
    """
    reply = outcome.reply.casefold()
    if step.state not in {None, outcome.state}:
        yield "state", f"The conversation stands in the state {outcome.state}, not {step.state}."
    if outcome.finished != step.finished:
        yield "finished", "The conversation has come to its end." if outcome.finished else "The conversation goes on."
    for words in step.says:
        if words.casefold() not in reply:
            yield "says", f"The reply does not say: {words}"
    for words in step.never_says:
        if words.casefold() in reply:
            yield "never_says", f"The reply says: {words}"
    if missing := _missing(step.events, outcome.events):
        yield "events", f"The event {missing} did not come; there came {', '.join(outcome.events) or 'none'}."
    if step.behavior is not None and outcome.behavior not in {step.behavior, behaviors.get(step.behavior)}:
        chosen = "none" if outcome.behavior is None else outcome.behavior
        yield "behavior", f"The behavior {step.behavior} was not chosen, but {chosen}."
    if missing := _missing(step.tools, outcome.tools):
        yield "tools", f"The tool {missing} was not called; called were {', '.join(outcome.tools) or 'none'}."


def result_differences(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Difference]:
    """Compare a structured result with the one of the file. Yield each field that differs; see `_agree`."""
    for name in sorted(wanted.keys() | found.keys()):
        if not _agree(before := wanted.get(name), now := found.get(name)):
            yield name, f"The result has {now!r} for {name}, not {before!r}.".replace("None", "nothing")


def _agree(wanted: object, found: object) -> bool:
    """Compare a value with the one of the file: no two models word a text alike, so its words have to stand there.

    A list of texts, where one text was found, is of words that all have to stand there.
    """
    if isinstance(wanted, str) and isinstance(found, str):
        return wanted == found or has_quote(found, wanted)
    parts = cast("list[object]", wanted) if isinstance(wanted, list) else []
    if parts:
        if isinstance(found, str):
            return all(_agree(part, found) for part in parts)
        others = cast("list[object]", found) if isinstance(found, list) else []
        return len(parts) == len(others) and all(map(_agree, parts, others))
    return isinstance(wanted, bool) is isinstance(found, bool) and wanted == found


def _missing(wanted: Sequence[str], found: Sequence[str]) -> str | None:
    """Look for names in their order among others. Return the first that is not there, or None."""
    left = iter(found)
    return next((name for name in wanted if name not in left), None)
