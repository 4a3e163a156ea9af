"""Quiet for the small HTTP servers that tests bring with them."""

from typing import Any


class Quiet:
    """A handler's base, before BaseHTTPRequestHandler: no line of a log is mixed into the output of the tests."""

    def log_message(self, *_said: Any, **_more: Any) -> None:
        """Drop a line of the log."""
