"""The outcome of a call of code, from whatever its process has written: storable, and without the server's paths."""

import json
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Any, cast

from tertulia.texts import storable
from tertulia.tools.values import ToolFailed, ToolOutcome, ToolSucceeded

LONGEST_MESSAGE = 2000
_LONGEST_TYPE, _LONGEST_LINE, _MOST_LINES = 100, 300, 40
_HIDDEN = "..."


def of_answer(answer: bytes, most_bytes: int, hidden: Sequence[str], duration_ms: int) -> ToolOutcome:
    """Read the answer of a tool. Return its outcome; an answer that makes no sense is a failure."""
    try:
        read: object = json.loads(answer)
    except (ValueError, RecursionError):
        read = None
    told = cast("dict[str, Any]", read) if isinstance(read, dict) else {}
    output, failure = told.get("output"), told.get("failed")
    if isinstance(output, str):
        cleaned = storable(output)
        if len(cleaned.encode()) > most_bytes:
            return failed("AnswerTooLarge", f"The answer has more than {most_bytes} bytes.", duration_ms)
        return ToolSucceeded(cleaned, duration_ms)
    if isinstance(failure, dict):
        return of_failure(cast("dict[str, Any]", failure), hidden, duration_ms)
    return failed("AnswerBroken", "The tool has written an answer that makes no sense.", duration_ms)


def of_failure(failure: Mapping[str, Any], hidden: Sequence[str], duration_ms: int) -> ToolFailed:
    """Read the description of an exception. Return the failure, without the server's paths."""
    trace: object = failure.get("trace")
    lines = cast("list[object]", trace)[:_MOST_LINES] if isinstance(trace, list) else []
    return ToolFailed(
        exception_type=storable(str(failure.get("type", "")))[:_LONGEST_TYPE] or "Exception",
        exception_message=_without(storable(str(failure.get("message", "")))[:LONGEST_MESSAGE], hidden),
        exception_stack_trace=tuple(_without(storable(str(line))[:_LONGEST_LINE], hidden) for line in lines),
        duration_ms=duration_ms,
    )


def of_death(status: int | None, cpu_seconds: int, duration_ms: int) -> ToolFailed:
    """Tell how a process ended that gave no answer. Return the failure."""
    if status is None or status < 0:
        return failed("ToolDied", "The tool ended without an answer.", duration_ms)
    if not os.WIFSIGNALED(status):
        return failed("ToolDied", f"The tool ended without an answer, with exit code {status >> 8}.", duration_ms)
    ended_by = os.WTERMSIG(status)
    if ended_by == signal.SIGXCPU:
        return failed("CpuTimeExceeded", f"The tool has used more than {cpu_seconds} s of CPU time.", duration_ms)
    if ended_by == signal.SIGXFSZ:
        return failed("DiskExceeded", "The tool has written a file that is larger than it may be.", duration_ms)
    return failed("ToolDied", f"The tool ended without an answer, by signal {ended_by}.", duration_ms)


def failed(kind: str, text: str, duration_ms: int = 0) -> ToolFailed:
    """Make a failure that the sandbox tells itself. Return it."""
    return ToolFailed(kind, text, (), duration_ms)


def _without(text: str, hidden: Sequence[str]) -> str:
    for path in hidden:
        text = text.replace(f"{path}/", "").replace(path, _HIDDEN)
    return text
