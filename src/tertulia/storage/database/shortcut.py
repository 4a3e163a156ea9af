"""Units that one statement of PostgreSQL does if all is as usual: one message to the database, not seven.

A shortcut decides nothing. Its statement does the work of its unit when nothing is in the way, and otherwise nothing at
all; then the unit itself runs, and knows what is wrong. SQLite, to which a message costs nothing, always runs the unit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from sqlalchemy import Select
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.engine import Connection

from tertulia.storage.database.prepared import Compiled

T = TypeVar("T")


class Numbered:
    """A statement of PostgreSQL whose parameters are all `bindparam`s, in the server's own form: `$1`, `$2` ..."""

    def __init__(self, statement: Select[*tuple[Any, ...]]) -> None:
        self._statement = statement

    @cached_property
    def compiled(self) -> Compiled:
        """The statement with converters of its parameters and its columns."""
        return Compiled(self._statement, psycopg.dialect(paramstyle="numeric_dollar"), ())

    @cached_property
    def sql(self) -> bytes:
        """The statement's text."""
        return self.compiled.sql.encode()


Step = tuple[Numbered, Mapping[str, Any]]
"""A statement and its parameters."""


@dataclass(frozen=True, slots=True)
class Shortcut(Generic[T]):
    """A unit, and `steps`, which makes the statements that do the same if all is as usual.

    The first statement gives a row if it has done its work; what others do depends on that. Shortcuts that wait share a
    transaction: the first statements of all in the order of `lock`, then the second ones. `lock` is a function of the
    rows that are locked for longest, so that two transactions lock them in the same order.
    """

    unit: Callable[[Connection], T]
    steps: Callable[[], Sequence[Step]]
    read: Callable[..., T]
    lock: tuple[Any, ...] = ()
