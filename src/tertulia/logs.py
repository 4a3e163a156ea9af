"""Logs to standard error: a line an event, JSON unless a person watches. Never tokens, bodies or queries.

A line is worth less than what it tells of. Standard error may be full, closed or read by nobody: then lines are lost,
and the next one that can be written says how many.
"""

import io
import logging
import os
import select
import sys
from typing import Any

import msgspec
import structlog
from structlog.typing import EventDict, Processor

_QUOTING = ("client", "mcp")
"""Loggers of the library `mcp`, whose lines quote what servers have sent."""

STUCK_MS = 100
"""The longest wait of a line for a reader who does not read; the lines after it do not wait."""


def configure(level: str) -> None:
    """Log events of a level and above, and the warnings of libraries, from now on and in the whole process."""
    writer = StandardError()
    structlog.configure(
        processors=[_safely(*_processors(watched=_is_watched()))],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_names: writer,
    )
    for name in _QUOTING:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    root = logging.getLogger()
    if not any(isinstance(handler, _Forward) for handler in root.handlers):
        root.addHandler(_Forward(logging.WARNING))


def _is_watched() -> bool:
    """Return True if a person may be looking at standard error; it may be closed, or never have been there."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False


class StandardError:
    """Today's standard error, for a host may have replaced it; writing to it never raises and never blocks for long."""

    def __init__(self) -> None:
        self._lost = 0
        self._stuck = False

    def msg(self, message: str) -> None:
        """Write a line, or count it as lost."""
        try:
            if self._lost:
                self._write(msgspec.json.encode({"event": "log lines lost", "lines": self._lost}).decode())
                self._lost = 0
            self._write(message)
        except (OSError, ValueError, AttributeError):  # full, gone, closed, or never there
            self._lost += 1

    log = debug = info = warn = warning = error = critical = exception = fatal = msg

    def _write(self, message: str) -> None:
        data = f"{message}\n".encode(errors="backslashreplace")
        try:
            descriptor = sys.stderr.fileno()
        except io.UnsupportedOperation:  # a test's
            sys.stderr.write(data.decode())
            return
        for start in range(0, len(data), select.PIPE_BUF):  # so much can be written at once, or nothing
            self._wait_for(descriptor)
            os.write(descriptor, data[start : start + select.PIPE_BUF])

    def _wait_for(self, descriptor: int) -> None:
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        ready = poll.poll(0 if self._stuck else STUCK_MS)
        self._stuck = not ready
        if self._stuck:
            raise BlockingIOError


class _Forward(logging.Handler):
    """The standard library's logging, on its way to ours."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            log = structlog.get_logger(record.name)
            log.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)
        except Exception:  # noqa: BLE001 - a log line breaks nothing
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - named by the standard library
        pass


def _processors(*, watched: bool) -> list[Processor]:
    last: list[Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if watched
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_dumps)]
    )
    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        *last,
    ]


def _safely(*processors: Processor) -> Processor:
    """Chain processors. Return one that makes a poor line where they fail, for a line must not break what it tells."""

    def process(logger: Any, name: str, event: EventDict) -> Any:
        said = event.get("event")
        try:
            made: Any = event
            for processor in processors:
                made = processor(logger, name, made)
        except Exception as error:  # noqa: BLE001 - the values of an event are anybody's
            line = {"event": ascii(said)[:200], "level": name, "broken": type(error).__name__}
            return msgspec.json.encode(line).decode()
        return made

    return process


def _dumps(event: dict[str, Any], **_options: Any) -> str:
    return msgspec.json.encode(event, enc_hook=repr).decode()
