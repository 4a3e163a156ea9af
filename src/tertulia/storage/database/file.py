"""A SQLite database's file, watched: one that was removed or replaced would take writes that nobody finds again."""

import os
import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError

Identity = tuple[int, int] | None

_log = structlog.get_logger(__name__)


class DatabaseFile:
    """The file that the connections of an engine are to. While it is away, units fail; another one is begun with anew.

    Connections to a file that was replaced are never closed: SQLite would remove the log of the new one with them.
    """

    def __init__(self, engine: Engine, take_writer: Callable[[], object]) -> None:
        name = engine.url.database
        self._path = name if name and name != ":memory:" else None
        self._engine = engine
        self._take_writer = take_writer
        """Takes the connection of the writer away, and returns it."""
        self._lock = threading.Lock()
        self._units = 0
        self._identity = self._identify("")
        self._logs: dict[str, Identity] = {}
        self._abandoned: list[Any] = []

    @contextmanager
    def in_use(self) -> Generator[None]:
        """Run a unit on the file that is there.

        Raises:
            OperationalError: there is none, or units still run on the one that was there before.
        """
        with self._lock:
            self._check()
            self._units += 1
        try:
            yield
        finally:
            with self._lock:
                self._units -= 1

    def note_logs(self) -> None:
        """Note which files SQLite keeps beside the database, to know them from those of another one."""
        self._logs = {ending: self._identify(ending) for ending in _LOGS}

    def _check(self) -> None:
        now = self._identify("")
        if now == self._identity:
            return
        if now is None:
            raise _unavailable("the database file is gone")
        if self._units:
            raise _unavailable("the database file was replaced")
        self._begin_anew(now)

    def _begin_anew(self, identity: Identity) -> None:
        _log.warning("the database file was replaced: going on with the new one")
        self._abandoned += [self._engine.pool, self._take_writer()]
        self._engine.dispose(close=False)
        for ending, noted in self._logs.items():
            if noted is not None and self._identify(ending) == noted:
                Path(f"{self._path}{ending}").unlink(missing_ok=True)  # it would be read as the new one's
        self._logs = {}
        self._identity = identity

    def _identify(self, ending: str) -> Identity:
        """Look at the file, or at a log beside it. Return its identity, None if it is not there."""
        if self._path is None:
            return None
        try:  # no `Path`, for each unit does this: to make one takes four times as long as to look
            found = os.stat(self._path + ending)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unavailable(f"the database's file cannot be looked at: {error.strerror}") from error
        return found.st_dev, found.st_ino


_LOGS = ("-wal", "-shm")


def _unavailable(reason: str) -> OperationalError:
    return OperationalError(None, None, sqlite3.OperationalError(reason))
