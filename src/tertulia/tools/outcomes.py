"""Outcomes without secrets: of calls of tools that run elsewhere, and of calls of code, which have one already."""

import json
import time
from collections.abc import Awaitable, Iterable
from dataclasses import replace
from urllib.parse import quote, quote_plus

import structlog
from structlog.typing import FilteringBoundLogger

from tertulia.texts import storable
from tertulia.tools.addresses import AddressRefused, HostUnreachable
from tertulia.tools.values import ToolFailed, ToolOutcome, ToolSucceeded

MOST_BYTES = 1 << 20
"""Bytes of an answer; a longer one is a failure."""

_LONGEST_MESSAGE = 4000
_SHORTEST_SECRET = 4
_LONG_SECRET = 8

_log: FilteringBoundLogger = structlog.get_logger(__name__)


class CallFailed(Exception):
    """A failure of a call: its kind in one word, and a text that may be told to a model."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


async def outcome_of(work: Awaitable[str], secrets: Iterable[str] = ()) -> ToolOutcome:
    """Wait for the output of a call. Return the outcome, whatever was raised, without the secrets."""
    began = time.monotonic()
    hidden = _hidden(form for secret in secrets for form in _forms(secret))
    try:
        output = await work
    except CallFailed as failure:
        kind, text = failure.kind, failure.text
    except (AddressRefused, HostUnreachable) as refusal:
        kind, text = type(refusal).__name__, str(refusal)
    except Exception as error:  # noqa: BLE001 - a turn goes on, whatever a tool has met
        _log.exception("tool_call_broke", error=type(error).__name__)
        kind, text = "InternalError", "The tool could not be called."
    else:
        return ToolSucceeded(_without(output, hidden), _since(began))
    return ToolFailed(kind, _without(text, hidden)[:_LONGEST_MESSAGE], (), _since(began))


def without_secrets(outcome: ToolOutcome, keys: Iterable[str], secrets: Iterable[str]) -> ToolOutcome:
    """Leave secrets out of what a tool in code tells. Return the outcome.

    `keys` are the tool's own secrets, which no answer has a reason to tell; they go from answers too, if they are long
    enough not to be met by chance. A failure is not written by the tool's own hand, so `secrets` go as well.
    """
    keys = list(keys)
    if isinstance(outcome, ToolSucceeded):
        long = [key for key in keys if len(key) >= _LONG_SECRET]
        hidden = _hidden([*long, *(json.dumps(key)[1:-1] for key in long)])
        return replace(outcome, output=_without(outcome.output, hidden)) if hidden else outcome
    hidden = _hidden([*keys, *secrets])
    return replace(
        outcome,
        exception_message=_without(outcome.exception_message, hidden),
        exception_stack_trace=tuple(_without(line, hidden) for line in outcome.exception_stack_trace),
    )


def _forms(secret: str) -> Iterable[str]:
    """Write a secret as servers repeat it: bare, within an address, and within JSON. Return its forms."""
    bare = secret.strip(" ")
    readable = bare.encode(errors="replace")
    return secret, bare, quote(readable, safe=""), quote(readable), quote_plus(readable), json.dumps(bare)[1:-1]


def _hidden(secrets: Iterable[str]) -> list[str]:
    """Choose the secrets that are long enough to be known again. Return them, the longest first."""
    return sorted({secret for secret in secrets if len(secret) >= _SHORTEST_SECRET}, key=len, reverse=True)


def _without(text: str, hidden: Iterable[str]) -> str:
    for secret in hidden:
        text = text.replace(secret, "***")
    return storable(text)


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
