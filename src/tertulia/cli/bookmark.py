"""A bookmark of the turn that a chat waits for, so that the next chat can follow it, however this one ends.

It holds identifiers only, and stands in the person's own folder for states (XDG Base Directory Specification).
"""

import hashlib
import json
import os
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from tertulia.cli.client import Session, Turn


class Bookmark:
    """The bookmark of one user's conversations with one service. If it cannot be written, there is none."""

    def __init__(self, session: Session, service_id: str) -> None:
        named = "\n".join((session.api.base_url, session.user_id, service_id))
        self._path = _folder() / f"{hashlib.sha256(named.encode()).hexdigest()[:32]}.json"

    def find(self) -> Turn | None:
        """Look for the turn that was waited for. Returns it, or None."""
        with suppress(OSError, ValueError, TypeError):
            return Turn(**json.loads(self._path.read_text(encoding="utf-8")))
        return None

    def put(self, turn: Turn) -> None:
        """Keep a turn that has begun."""
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.write_text(json.dumps(asdict(turn)), encoding="utf-8")

    def remove(self) -> None:
        """Forget a turn that has ended."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def _folder() -> Path:
    named = os.environ.get("XDG_STATE_HOME", "")
    return (Path(named) if named else Path.home() / ".local" / "state") / "tertulia" / "chats"
