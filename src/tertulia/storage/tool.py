"""Tools and their variables. Versions and calls have modules of their own."""

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from tertulia import clock
from tertulia.errors import BadRequest, Conflict, NotFound
from tertulia.ids import new_id
from tertulia.storage.database.paging import Page, Sort, Window, fetch_page, ordering
from tertulia.storage.database.rows import columns, find_row, list_rows
from tertulia.storage.database.shapes import among
from tertulia.storage.database.tags import tag_conditions
from tertulia.storage.tables import tool_variables, tool_versions, tools
from tertulia.storage.versioned import Author

BUSY = timedelta(seconds=30)
"""The time after which an operation on a tool counts as dead if it has neither ended nor shown that it lives."""

REMEMBERED = timedelta(minutes=1)
"""The time for which the name of a deleted variable cannot be used again."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool; `published` counts its versions. While an operation changes the tool, `busy_until` is ahead."""

    id: str
    org_id: str
    name: str
    description: str
    tags: Mapping[str, str | None]
    deprecated: bool
    published: int
    busy_token: str | None
    busy_until: datetime | None
    creator_org_id: str
    creator_user_id: str
    created_at: datetime
    updated_by_org_id: str
    updated_by_user_id: str
    updated_at: datetime

    @property
    def attributes(self) -> dict[str, object]:
        """The attributes that a permission's conditions can name; `COLUMNS` has the same ones."""
        return {"org_id": self.org_id, "tool_id": self.id}


COLUMNS: Mapping[str, ColumnElement[Any]] = {"org_id": tools.c.org_id, "tool_id": tools.c.id}
"""The attributes of a tool, as columns."""

SORTABLE: Mapping[str, ColumnElement[Any]] = {"name": tools.c.name, "deprecated": tools.c.deprecated}
"""The fields of tools that a list can be sorted by."""


@dataclass(frozen=True, slots=True)
class ToolFilter:
    """A filter of tools; an empty field narrows nothing, and all tags must match."""

    id: Sequence[str] = ()
    deprecated: bool | None = None
    tag: Sequence[tuple[str, str]] = ()
    """Pairs of a key and a value; the value `*` stands for any, and an empty one for null."""


@dataclass(frozen=True, slots=True)
class Variable:
    """An environment variable of a tool. The value is encrypted."""

    tool_id: str
    name: str
    value: str
    is_secret: bool


@dataclass(frozen=True, slots=True)
class VariableChanges:
    """Changes of a tool's variables, the values encrypted. No name stands in two of them."""

    inserts: Sequence[Variable]
    updates: Mapping[str, str]
    deletes: Sequence[str]


# --- One tool --------------------------------------------------------------------------------------------------------


_TOOL = sa.select(*columns(Tool, tools))


def insert_tool(
    connection: Connection, author: Author, name: str, description: str, tags: Mapping[str, str | None]
) -> Tool:
    """Insert a tool, as yet without a version. Return it.

    Raises:
        Conflict: a tool that is not deprecated has the name.
    """
    moment = clock.now()
    made = Tool(
        id=new_id(),
        org_id=author.org_id,
        name=name,
        description=description,
        tags=tags,
        deprecated=False,
        published=0,
        busy_token=None,
        busy_until=None,
        creator_org_id=author.org_id,
        creator_user_id=author.user_id,
        created_at=moment,
        updated_by_org_id=author.org_id,
        updated_by_user_id=author.user_id,
        updated_at=moment,
    )
    with _unique_name(name):
        connection.execute(sa.insert(tools).values(asdict(made)))
    return made


def get_tool(connection: Connection, org_id: str, tool_id: str) -> Tool:
    """Fetch a tool. Return its row, or raise NotFound."""
    return _one(connection, _TOOL, org_id, tool_id)


def lock_tool(connection: Connection, org_id: str, tool_id: str) -> Tool:
    """Fetch a tool that nobody else changes before this transaction ends. Return its row, or raise NotFound."""
    return _one(connection, _TOOL.with_for_update(), org_id, tool_id)


def lock_idle_tool(connection: Connection, org_id: str, tool_id: str) -> Tool:
    """Fetch a tool that nobody else changes before this transaction ends. Return its row.

    Raises:
        NotFound: there is no such tool.
        Conflict: an operation changes the tool at this moment.
    """
    tool = lock_tool(connection, org_id, tool_id)
    if tool.busy_until is not None and tool.busy_until > clock.now():
        raise Conflict(f"Another operation changes the tool {tool.name} at this moment.")
    return tool


def _one(connection: Connection, query: sa.Select[Any], org_id: str, tool_id: str) -> Tool:
    found = find_row(connection, query.where(tools.c.org_id == org_id, tools.c.id == tool_id), Tool)
    if found is None:
        raise NotFound(f"There is no tool {tool_id}.")
    return found


@contextmanager
def _unique_name(name: str) -> Generator[None]:
    try:
        yield
    except IntegrityError as error:
        raise Conflict(f"There is already a tool of this name: {name}.") from error


def list_missing(connection: Connection, org_id: str, tool_ids: Iterable[str]) -> set[str]:
    """Look for tools that are not there, or deprecated. Return their identifiers."""
    wanted = sorted(set(tool_ids))
    living = sa.select(tools.c.id).where(
        tools.c.org_id == org_id, tools.c.deprecated.is_(False), among(tools.c.id, wanted)
    )
    return set(wanted) - set(connection.execute(living).scalars()) if wanted else set()


def list_tools(
    connection: Connection, org_id: str, visible: ColumnElement[bool], narrow: ToolFilter, sort: Sort, window: Window
) -> Page[Tool]:
    """Fetch a page of tools, the oldest first unless sorted otherwise. Return those that are `visible`."""
    order = ordering(sort, SORTABLE, tools.c.created_at, tools.c.id)
    return fetch_page(connection, _TOOL.where(*_narrowed(org_id, narrow), visible).order_by(*order), window, Tool)


def list_tag_keys(connection: Connection, org_id: str, narrow: ToolFilter) -> list[str]:
    """Collect the keys of tags that the tools under a filter have. Return each once, sorted."""
    found = connection.execute(sa.select(tools.c.tags).where(*_narrowed(org_id, narrow)).distinct()).scalars()
    return sorted({key for tags in found for key in tags})


def _narrowed(org_id: str, narrow: ToolFilter) -> list[ColumnElement[bool]]:
    conditions = [tools.c.org_id == org_id]
    if narrow.id:
        conditions.append(among(tools.c.id, narrow.id))
    if narrow.deprecated is not None:
        conditions.append(tools.c.deprecated.is_(narrow.deprecated))
    return [*conditions, *tag_conditions(tools.c.tags, narrow.tag)]


def update_tool(
    connection: Connection,
    changed: Tool,
    author: Author,
    description: str | None,
    tags: Mapping[str, str | None] | None,
) -> None:
    """Change what is not null of a tool that this transaction has locked."""
    changes: dict[str, Any] = {} if description is None else {"description": description}
    _write(connection, changed.id, author, changes if tags is None else {**changes, "tags": tags})


def deprecate_tool(connection: Connection, deprecated: Tool, author: Author) -> None:
    """Take a tool that this transaction has locked out of use, with all its versions and without its variables."""
    _write(connection, deprecated.id, author, {"deprecated": True})
    living = sa.and_(tool_versions.c.tool_id == deprecated.id, tool_versions.c.deprecated.is_(False))
    connection.execute(sa.update(tool_versions).where(living).values(deprecated=True, **author.change(clock.now())))
    connection.execute(sa.delete(tool_variables).where(tool_variables.c.tool_id == deprecated.id))


def _write(connection: Connection, tool_id: str, author: Author, changes: Mapping[str, Any]) -> None:
    changed = {**changes, **author.change(clock.now())}
    connection.execute(sa.update(tools).where(tools.c.id == tool_id).values(changed))


# --- Operations that take their time ---------------------------------------------------------------------------------


def begin_operation(connection: Connection, tool: Tool) -> str:
    """Keep all others from changing a tool that this transaction has locked, until `end_operation`.

    Return the token of the operation.
    """
    token = new_id()
    busy = {"busy_token": token, "busy_until": clock.now() + BUSY}
    connection.execute(sa.update(tools).where(tools.c.id == tool.id).values(busy))
    return token


def renew_operation(connection: Connection, tool_id: str, token: str) -> None:
    """Show that an operation lives, unless the tool has become another one's."""
    ours = sa.and_(tools.c.id == tool_id, tools.c.busy_token == token)
    connection.execute(sa.update(tools).where(ours).values(busy_until=clock.now() + BUSY))


def lock_operated(connection: Connection, org_id: str, tool_id: str, token: str) -> Tool:
    """Fetch the tool of an operation that began in another transaction. Return its row, locked.

    Raises:
        Conflict: the operation took so long that another one has begun.
    """
    tool = lock_tool(connection, org_id, tool_id)
    if tool.busy_token != token:
        raise Conflict(f"The operation on the tool {tool.name} took too long: another one has begun.")
    return tool


def end_operation(connection: Connection, tool_id: str, token: str) -> None:
    """Let others change a tool again, unless the operation is not the tool's any more."""
    ours = sa.and_(tools.c.id == tool_id, tools.c.busy_token == token)
    connection.execute(sa.update(tools).where(ours).values(busy_token=None, busy_until=None))


# --- Variables -------------------------------------------------------------------------------------------------------


_VARIABLES = sa.select(*columns(Variable, tool_variables)).where(tool_variables.c.deleted_at.is_(None))


def list_variables(connection: Connection, tool_ids: Sequence[str]) -> Sequence[Variable]:
    """Fetch the variables of tools. Return them in the order of their names."""
    query = _VARIABLES.where(among(tool_variables.c.tool_id, tool_ids)).order_by(tool_variables.c.name)
    return list_rows(connection, query, Variable)


def change_variables(connection: Connection, changed: Tool, author: Author, changes: VariableChanges) -> None:
    """Change the variables of a tool that this transaction has locked: all of it, or nothing.

    Raises:
        Conflict: a variable to insert exists, or was deleted a moment ago.
        BadRequest: a variable to update or delete does not exist, or a version in use requires it.
    """
    present = {variable.name for variable in list_variables(connection, [changed.id])}
    for name in [*changes.updates, *changes.deletes]:
        if name not in present:
            raise BadRequest(f"The tool {changed.name} has no variable {name}.")
    _refuse_required(connection, changed, changes.deletes)
    _refuse_taken(connection, changed, present, [variable.name for variable in changes.inserts])
    for name, value in changes.updates.items():
        _write_variable(connection, changed.id, name, {"value": value})
    for name in changes.deletes:
        _write_variable(connection, changed.id, name, {"value": "", "deleted_at": clock.now()})
    if changes.inserts:
        rows = [{**asdict(variable), "org_id": changed.org_id} for variable in changes.inserts]
        connection.execute(sa.insert(tool_variables), rows)
    _write(connection, changed.id, author, {})


def _refuse_required(connection: Connection, tool: Tool, names: Sequence[str]) -> None:
    versions = tool_versions.c
    query = sa.select(versions.required_envvars, versions.required_secret_envvars).where(
        versions.tool_id == tool.id, versions.deprecated.is_(False)
    )
    required = {name for row in connection.execute(query) for group in row for name in group}
    for name in names:
        if name in required:
            raise BadRequest(f"A version of the tool {tool.name} that is in use requires the variable {name}.")


def _refuse_taken(connection: Connection, tool: Tool, present: set[str], names: Sequence[str]) -> None:
    old = sa.and_(tool_variables.c.tool_id == tool.id, tool_variables.c.deleted_at <= clock.now() - REMEMBERED)
    connection.execute(sa.delete(tool_variables).where(old))
    query = sa.select(tool_variables.c.name).where(tool_variables.c.tool_id == tool.id)
    taken = set(connection.execute(query).scalars())
    for name in names:
        if name in present:
            raise Conflict(f"The tool {tool.name} has a variable {name} already.")
        if name in taken:
            raise Conflict(f"The variable {name} was deleted a moment ago: its name is free again after a minute.")


def _write_variable(connection: Connection, tool_id: str, name: str, values: Mapping[str, Any]) -> None:
    this = sa.and_(tool_variables.c.tool_id == tool_id, tool_variables.c.name == name)
    connection.execute(sa.update(tool_variables).where(this).values(values))
