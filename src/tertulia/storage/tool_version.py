"""Versions of tools, and snapshots of their code."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy import ColumnElement
from sqlalchemy.engine import Connection

from tertulia import clock
from tertulia.errors import BadRequest, NotFound
from tertulia.ids import new_id
from tertulia.storage.database.paging import Page, Sort, Window, fetch_page, ordering
from tertulia.storage.database.rows import columns, find_row, list_rows
from tertulia.storage.database.shapes import among, padded
from tertulia.storage.tables import tool_snapshots, tool_variables, tool_versions, tools
from tertulia.storage.tool import Tool
from tertulia.storage.usage import add_to_organization
from tertulia.storage.versioned import Author

MOST_ACTIVE = 3
"""Versions of a tool that are in use at once."""

Numbers = tuple[int, int, int]
"""The numbers of a version: major, minor, patch."""


@dataclass(frozen=True, slots=True)
class ToolVersion:
    """A version of a tool. `digest` names the snapshot of its code, and is empty if there is no code."""

    id: str
    org_id: str
    tool_id: str
    number: int
    major: int
    minor: int
    patch: int
    deprecated: bool
    kind: str
    definition: Mapping[str, Any]
    input_schema: Mapping[str, Any]
    digest: str
    commit_hash: str
    scaffold_hash: str
    project_directory: str
    required_envvars: Sequence[str]
    required_secret_envvars: Sequence[str]
    creator_org_id: str
    creator_user_id: str
    created_at: datetime
    updated_by_org_id: str
    updated_by_user_id: str
    updated_at: datetime

    @property
    def numbers(self) -> Numbers:
        """The numbers of the version."""
        return self.major, self.minor, self.patch


@dataclass(frozen=True, slots=True)
class VersionBody:
    """The content of a version to be published."""

    kind: str
    definition: Mapping[str, Any]
    input_schema: Mapping[str, Any]
    required_envvars: Sequence[str]
    required_secret_envvars: Sequence[str]
    commit_hash: str
    scaffold_hash: str = ""
    project_directory: str = ""
    snapshot: bytes = b""
    """An archive of the code; empty if there is none."""


SORTABLE: Mapping[str, ColumnElement[Any]] = {
    "created_at": tool_versions.c.created_at,
    "version.major": tool_versions.c.major,
    "version.minor": tool_versions.c.minor,
    "version.patch": tool_versions.c.patch,
    "deprecated": tool_versions.c.deprecated,
}
"""The fields of versions that a list can be sorted by."""


@dataclass(frozen=True, slots=True)
class ToolVersionFilter:
    """A filter of a tool's versions; an empty field narrows nothing, but no numbers at all find nothing."""

    deprecated: bool | None = None
    numbers: Sequence[Numbers] | None = None
    creator: Sequence[tuple[str, str]] = ()
    """Pairs of an organization and a user."""


_VERSION = sa.select(*columns(ToolVersion, tool_versions))


def list_active(connection: Connection, tool_id: str) -> Sequence[ToolVersion]:
    """Fetch the versions of a tool that are in use. Return the oldest first."""
    query = _VERSION.where(tool_versions.c.tool_id == tool_id, tool_versions.c.deprecated.is_(False))
    return list_rows(connection, query.order_by(tool_versions.c.number), ToolVersion)


def list_numbers(connection: Connection, tool_id: str) -> Sequence[Numbers]:
    """Fetch the numbers of all versions of a tool, those out of use too. Return the oldest first."""
    this = tool_versions.c
    query = sa.select(this.major, this.minor, this.patch).where(this.tool_id == tool_id).order_by(this.number)
    return [(row[0], row[1], row[2]) for row in connection.execute(query)]


def find_latest(connection: Connection, tool_id: str) -> ToolVersion | None:
    """Look for the version of a tool that was published last. Return it, or None."""
    query = _VERSION.where(tool_versions.c.tool_id == tool_id).order_by(tool_versions.c.number.desc()).limit(1)
    return find_row(connection, query, ToolVersion)


def get_version(connection: Connection, tool: Tool, numbers: Numbers) -> ToolVersion:
    """Fetch a version of a tool that is in use. Return it, or raise NotFound."""
    this = tool_versions.c
    query = _VERSION.where(this.tool_id == tool.id, _is(numbers), this.deprecated.is_(False))
    found = find_row(connection, query, ToolVersion)
    if found is None:
        raise NotFound(f"The tool {tool.name} has no version {'.'.join(map(str, numbers))} in use.")
    return found


def _is(numbers: Numbers) -> ColumnElement[bool]:
    this = tool_versions.c
    return sa.and_(this.major == numbers[0], this.minor == numbers[1], this.patch == numbers[2])


def list_versions(
    connection: Connection, tool_id: str, narrow: ToolVersionFilter, sort: Sort, window: Window
) -> Page[ToolVersion]:
    """Fetch a page of a tool's versions. Return them, the oldest first unless sorted otherwise."""
    query = _VERSION.where(*_narrowed(tool_id, narrow))
    ordered = query.order_by(*ordering(sort, SORTABLE, tool_versions.c.number))
    return fetch_page(connection, ordered, window, ToolVersion)


def list_creators(connection: Connection, tool_id: str, narrow: ToolVersionFilter) -> list[tuple[str, str]]:
    """Collect the users who made the versions under a filter. Return each once: organization and user, sorted."""
    this = tool_versions.c
    query = sa.select(this.creator_org_id, this.creator_user_id).where(*_narrowed(tool_id, narrow)).distinct()
    return sorted((row[0], row[1]) for row in connection.execute(query))


def _narrowed(tool_id: str, narrow: ToolVersionFilter) -> list[ColumnElement[bool]]:
    this = tool_versions.c
    conditions = [this.tool_id == tool_id]
    if narrow.deprecated is not None:
        conditions.append(this.deprecated.is_(narrow.deprecated))
    if narrow.numbers is not None:
        conditions.append(sa.or_(sa.false(), *map(_is, padded(narrow.numbers))))
    if narrow.creator:
        by = [sa.and_(this.creator_org_id == org, this.creator_user_id == user) for org, user in padded(narrow.creator)]
        conditions.append(sa.or_(*by))
    return conditions


def require_publishable(connection: Connection, tool: Tool) -> None:
    """Refuse to publish a version of a tool that has as many in use as it may, or that is out of use itself.

    Raises:
        BadRequest: the tool is deprecated, or has too many versions.
    """
    if tool.deprecated:
        raise BadRequest(f"The tool {tool.name} is deprecated.")
    if len(list_active(connection, tool.id)) >= MOST_ACTIVE:
        raise BadRequest(
            f"The tool {tool.name} has {MOST_ACTIVE} versions in use, and may not have more: deprecate one first."
        )


def require_variables(connection: Connection, tool: Tool, body: VersionBody) -> None:
    """Refuse to publish a version that needs variables which its tool does not have.

    Raises:
        BadRequest: a variable is missing, is secret and must not be, or must be and is not.
    """
    this = tool_variables.c
    query = sa.select(this.name, this.is_secret).where(this.tool_id == tool.id, this.deleted_at.is_(None))
    present = {row[0]: row[1] for row in connection.execute(query)}
    for names, is_secret in ((body.required_envvars, False), (body.required_secret_envvars, True)):
        for name in names:
            if present.get(name) is not is_secret:
                kind = "secret variable" if is_secret else "variable that is not secret"
                raise BadRequest(f"The tool {tool.name} needs a {kind} {name} for this version: insert it first.")


def insert_version(
    connection: Connection, tool: Tool, numbers: Numbers, body: VersionBody, author: Author
) -> ToolVersion:
    """Insert a version of a tool that this transaction has locked, and the snapshot of its code. Return the version."""
    moment = clock.now()
    made = ToolVersion(
        id=new_id(),
        org_id=tool.org_id,
        tool_id=tool.id,
        number=tool.published + 1,
        major=numbers[0],
        minor=numbers[1],
        patch=numbers[2],
        deprecated=False,
        kind=body.kind,
        definition=body.definition,
        input_schema=body.input_schema,
        digest=_keep(connection, tool, body.snapshot) if body.snapshot else "",
        commit_hash=body.commit_hash,
        scaffold_hash=body.scaffold_hash,
        project_directory=body.project_directory,
        required_envvars=list(body.required_envvars),
        required_secret_envvars=list(body.required_secret_envvars),
        creator_org_id=author.org_id,
        creator_user_id=author.user_id,
        created_at=moment,
        updated_by_org_id=author.org_id,
        updated_by_user_id=author.user_id,
        updated_at=moment,
    )
    connection.execute(sa.insert(tool_versions).values(asdict(made)))
    connection.execute(sa.update(tools).where(tools.c.id == tool.id).values(published=made.number))
    return made


def deprecate_versions(connection: Connection, tool: Tool, numbers: Sequence[Numbers], author: Author) -> None:
    """Take versions of a tool that this transaction has locked out of use."""
    if not numbers:
        return
    chosen = sa.and_(tool_versions.c.tool_id == tool.id, sa.or_(*map(_is, padded(numbers))))
    living = tool_versions.c.deprecated.is_(False)
    changes = {"deprecated": True, **author.change(clock.now())}
    connection.execute(sa.update(tool_versions).where(chosen, living).values(changes))


# --- Snapshots -------------------------------------------------------------------------------------------------------


def find_snapshot(connection: Connection, digest: str) -> bytes | None:
    """Look for a snapshot by the SHA-256 of its archive, in hex. Return the archive, or None."""
    query = sa.select(tool_snapshots.c.body).where(tool_snapshots.c.digest == digest).limit(1)
    return connection.execute(query).scalar()


def list_digests(connection: Connection, digests: Sequence[str]) -> set[str]:
    """Look for snapshots by their digests. Return those of the digests that there are."""
    query = sa.select(tool_snapshots.c.digest).where(among(tool_snapshots.c.digest, digests))
    return set(connection.execute(query).scalars())


def purge_snapshot(connection: Connection, before: datetime) -> bool:
    """Remove a snapshot that no version has needed since a moment. Return True if there was one.

    The tool is locked, as by whoever publishes a version of it: that could find the snapshot there, and keep it.
    """
    snapshots, versions = tool_snapshots.c, tool_versions.c
    needed = sa.exists().where(
        versions.tool_id == snapshots.tool_id,
        versions.digest == snapshots.digest,
        sa.or_(versions.deprecated.is_(False), versions.updated_at >= before),
    )
    spare = sa.and_(snapshots.created_at < before, ~needed)
    its = snapshots.org_id, snapshots.tool_id, snapshots.digest, sa.func.length(snapshots.body).label("bytes")
    found = connection.execute(sa.select(*its).where(spare).limit(1)).first()
    if found is None:
        return False
    connection.execute(sa.select(tools.c.id).where(tools.c.id == found.tool_id).with_for_update())
    this = sa.and_(snapshots.tool_id == found.tool_id, snapshots.digest == found.digest)
    if not connection.execute(sa.delete(tool_snapshots).where(this, spare)).rowcount:
        return False
    add_to_organization(connection, found.org_id, found.tool_id, -found.bytes)
    return True


def digest_of(body: bytes) -> str:
    """Name a snapshot by its content. Return its SHA-256, in hex."""
    return hashlib.sha256(body).hexdigest()


def _keep(connection: Connection, tool: Tool, body: bytes) -> str:
    """Insert a snapshot of a tool unless it is there. Return its digest."""
    digest = digest_of(body)
    this = tool_snapshots.c
    present = sa.select(this.digest).where(this.tool_id == tool.id, this.digest == digest)
    if connection.execute(present).first() is None:
        row = {"org_id": tool.org_id, "tool_id": tool.id, "digest": digest, "body": body, "created_at": clock.now()}
        connection.execute(sa.insert(tool_snapshots), row)
        add_to_organization(connection, tool.org_id, tool.id, len(body))
    return digest
