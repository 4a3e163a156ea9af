"""Statements of the hot path, compiled once.

SQLAlchemy spends some 60 microseconds on each execution around the driver's few. A prepared statement is still written
in SQLAlchemy, which makes its SQL and knows its types; only the driver's part is repeated. Its parameters are
fixed: no lists, no clauses that come and go.
"""

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy import Select, Table, bindparam
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.sql.dml import UpdateBase

Convert = Callable[[Any], Any] | None
Parameters = Mapping[str, Any]
T = TypeVar("T")

STALE_PLANS = frozenset({"0A000", "26000", "42P05"})
"""PostgreSQL's states of a plan whose result would have other types now, that is gone, or that is there already."""


class Prepared:
    """A statement whose parameters are all `bindparam`s; run with the connection of any database."""

    def __init__(self, statement: Select[*tuple[Any, ...]] | UpdateBase, *columns: str) -> None:
        self._statement = statement
        self._columns = columns
        self._compiled: dict[str, Compiled] = {}

    def first(self, connection: Connection, parameters: Parameters) -> dict[str, Any] | None:
        """Run the query. Return its first row by column, or None."""
        compiled = self._for(connection)
        row = compiled.execute(connection, parameters).fetchone()
        return None if row is None else compiled.row(row)

    def all(self, connection: Connection, parameters: Parameters) -> list[dict[str, Any]]:
        """Run the query. Return every row by column."""
        compiled = self._for(connection)
        return [compiled.row(row) for row in compiled.execute(connection, parameters).fetchall()]

    def run(self, connection: Connection, parameters: Parameters) -> int:
        """Execute the statement. Return the number of rows that were changed."""
        return self._for(connection).execute(connection, parameters).rowcount

    def run_many(self, connection: Connection, rows: Sequence[Parameters]) -> None:
        """Execute the statement once for each row of parameters."""
        compiled = self._for(connection)
        for row in rows:
            compiled.execute(connection, row)

    def _for(self, connection: Connection) -> "Compiled":
        dialect = connection.dialect
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = Compiled(self._statement, dialect, self._columns)
        return compiled


class PreparedSelect(Generic[T]):
    """A prepared query for rows of one class, whose fields it selects in their order."""

    def __init__(self, row: Callable[..., T], statement: Select[*tuple[Any, ...]]) -> None:
        self._row = row
        self._statement = statement
        self._compiled: dict[str, Compiled] = {}

    def first(self, connection: Connection, parameters: Parameters) -> T | None:
        """Run the query. Return its first row, or None."""
        compiled = self._for(connection)
        row = compiled.execute(connection, parameters).fetchone()
        return None if row is None else self._row(*compiled.values(row))

    def all(self, connection: Connection, parameters: Parameters) -> list[T]:
        """Run the query. Return all its rows."""
        compiled = self._for(connection)
        return [self._row(*compiled.values(row)) for row in compiled.execute(connection, parameters).fetchall()]

    def _for(self, connection: Connection) -> "Compiled":
        dialect = connection.dialect
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = Compiled(self._statement, dialect, ())
        return compiled


def insert(table: Table) -> Prepared:
    """Prepare the insertion of a whole row. Return it; every column is a parameter of its name."""
    names = [column.name for column in table.columns]
    return Prepared(sa.insert(table).values({name: bindparam(name) for name in names}), *names)


def execute_directly(connection: Connection, sql: str, parameters: Any = ()) -> Any:
    """Run SQL of the database's own. Return the driver's cursor; errors are SQLAlchemy's."""
    return _executed(connection, sql, parameters, {})


def _executed(connection: Connection, sql: str, parameters: Any, options: Mapping[str, Any]) -> Any:
    cursor: Any = connection.connection.cursor()
    error_class: type[Exception] = connection.dialect.loaded_dbapi.Error
    try:
        cursor.execute(sql, parameters, **options)
    except error_class as error:
        if getattr(error, "sqlstate", None) in STALE_PLANS:
            connection.invalidate(error)  # the next one plans anew
            raise OperationalError(sql, None, error) from error
        raise DBAPIError.instance(sql, None, error, error_class, dialect=connection.dialect) from error
    return cursor


def _taker(names: Sequence[str]) -> Callable[[Parameters], Sequence[Any]]:
    """Make a function that takes values out of a mapping by their names. Return it."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda given: [given[name] for name in names]


class Compiled:
    """A statement in one database's SQL, with converters of its parameters and of the columns of its rows."""

    def __init__(
        self, statement: Select[*tuple[Any, ...]] | UpdateBase, dialect: Dialect, columns: Sequence[str]
    ) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=list(columns) or None)
        self.sql = str(compiled)
        names: Sequence[str] = compiled.positiontup or list(compiled.binds)
        self.fixed: dict[str, Any] = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        self.binds: list[tuple[str, Convert]] = [
            (name, compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)) for name in names
        ]
        self.positional = bool(compiled.positional)
        self._converted = [(at, convert) for at, (_, convert) in enumerate(self.binds) if convert is not None]
        self._options = {"prepare": True} if dialect.name == "postgresql" else {}
        """Options of the driver: PostgreSQL's own may keep the statement's plan, where a connection allows that."""
        self._take = _taker([name for name, _ in self.binds])
        self.results: list[tuple[str, Convert]] = (
            [
                (str(column.key), column.type.dialect_impl(dialect).result_processor(dialect, None))
                for column in statement.selected_columns
            ]
            if isinstance(statement, Select)
            else []
        )

    def execute(self, connection: Connection, parameters: Parameters) -> Any:
        """Execute the statement. Return the driver's cursor."""
        return _executed(connection, self.sql, self.bound(parameters), self._options)

    def bound(self, parameters: Parameters) -> Any:
        """Return the parameters as the driver takes them. None is NULL, whatever the type."""
        given = {**self.fixed, **parameters} if self.fixed else parameters
        if self.positional:
            values = [*self._take(given)]
            for at, convert in self._converted:
                if values[at] is not None:
                    values[at] = convert(values[at])
            return values
        return {
            name: value if (value := given[name]) is None or convert is None else convert(value)
            for name, convert in self.binds
        }

    def row(self, row: Sequence[Any]) -> dict[str, Any]:
        """Return the values of a row by column."""
        return {
            name: value if convert is None else convert(value)
            for (name, convert), value in zip(self.results, row, strict=True)
        }

    def values(self, row: Sequence[Any]) -> list[Any]:
        """Return the values of a row as the statement's types have them."""
        return [
            value if convert is None else convert(value) for (_, convert), value in zip(self.results, row, strict=True)
        ]
