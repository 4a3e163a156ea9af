"""Rules of versions and projects that the operations on tools share."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from sqlalchemy.engine import Connection

from tertulia.auth.actor import Actor
from tertulia.auth.permissions import Permission
from tertulia.errors import BadRequest, Unprocessable
from tertulia.storage import tool as tools
from tertulia.storage import tool_version as tool_versions
from tertulia.storage.tool import Tool
from tertulia.storage.tool_version import Numbers, VersionBody
from tertulia.tools import archive, fingerprint, scaffold
from tertulia.tools.arguments import problem_of_schema
from tertulia.tools.sources import Project
from tertulia.tools.values import ToolKind
from tertulia.tools.versions import BadConstraint, Constraint, Version


class VersionInstance(BaseModel):
    """A version as lists show it."""

    major: int
    minor: int
    patch: int


def require_maker(actor: Actor, attributes: Mapping[str, object]) -> None:
    """Refuse those who may neither make nor change tools of an organization with these attributes.

    Raises:
        Forbidden: the caller may do neither.
    """
    if not actor.may(Permission.TOOL_MODIFY_TOOL, attributes):
        actor.require(Permission.TOOL_CREATE_TOOL, attributes)


def constraint_of(text: str, location: Sequence[str | int]) -> Constraint:
    """Read a constraint. Return it, or raise Unprocessable."""
    try:
        return Constraint(text)
    except BadConstraint as error:
        raise Unprocessable(str(error), location) from error


def admitted(connection: Connection, tool_id: str, constraint: Constraint) -> list[Numbers]:
    """Find the versions of a tool that meet a constraint, those out of use too. Return their numbers."""
    numbers = tool_versions.list_numbers(connection, tool_id)
    return [each for each in numbers if constraint.admits(Version(*each))]


def body_of(project: Project) -> VersionBody:
    """Read the manifest of a project, and pack its files. Return what a version of it has.

    Raises:
        BadTool: the manifest or the lock is wrong, a file of the tool is missing, or the project is too large.
    """
    manifest = archive.project_manifest(project.files)
    return VersionBody(
        kind="code",
        definition=manifest.definition(),
        input_schema=manifest.input_schema,
        required_envvars=manifest.plain,
        required_secret_envvars=manifest.secret,
        commit_hash=project.commit or fingerprint.of_project(project.files),
        scaffold_hash=scaffold.DIGEST,
        project_directory=project.directory,
        snapshot=archive.pack(project.files),
    )


def project_of(sent: bytes) -> Project:
    """Unpack an archive. Return its project; a folder that holds everything else is no part of the paths."""
    files = archive.unpack(sent)
    if len({path.partition("/")[0] for path in files}) == 1 and all("/" in path for path in files):
        files = {path.partition("/")[2]: content for path, content in files.items()}
    return Project(files, "")


def checked_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """See that a schema can judge arguments. Return it, or raise ValueError."""
    problem = problem_of_schema(schema)
    if problem is not None:
        raise ValueError(problem)
    return schema


Names = tuple[list[str], list[str]]
"""The names of variables that are not secret, and of those that are."""


def split_variables(connection: Connection, tool: Tool, names: Sequence[str]) -> Names:
    """Look for variables of a tool. Return the names of those that are not secret, and of those that are.

    Raises:
        BadRequest: the tool does not have one of them.
    """
    secret = {variable.name: variable.is_secret for variable in tools.list_variables(connection, [tool.id])}
    for name in names:
        if name not in secret:
            raise BadRequest(f"The tool {tool.name} needs a variable {name} for this version: insert it first.")
    return [name for name in names if not secret[name]], [name for name in names if secret[name]]


def remote_body(kind: ToolKind, definition: BaseModel, schema: Mapping[str, Any], names: Names) -> VersionBody:
    """Make the content of a version without code. Return it."""
    content = definition.model_dump(mode="json", by_alias=True)
    return VersionBody(
        kind=kind,
        definition=content,
        input_schema=schema,
        required_envvars=names[0],
        required_secret_envvars=names[1],
        commit_hash=fingerprint.of_remote(kind, content, schema),
        scaffold_hash=scaffold.DIGEST,
    )
