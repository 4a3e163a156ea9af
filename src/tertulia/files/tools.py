"""Tools in a folder: projects in `tools/NAME/`, and operations of HTTP APIs in `tools/NAME.json`.

An operation may also have a folder of its own, `tools/NAME/NAME.json`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, cast

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from tertulia import problems
from tertulia.errors import BadTool
from tertulia.files.document import Document, Problem, WrongFile, read
from tertulia.tools import archive, fingerprint, manifest
from tertulia.tools.arguments import problem_of_schema
from tertulia.tools.definitions import HttpOperation, variables_of

TOOLS: Final = "tools"


@dataclass(frozen=True, slots=True)
class CodeTool:
    """A project with the code of a tool. `variables` has for each that it requires whether it is secret."""

    name: str
    description: str
    file: str
    fingerprint: str
    input_schema: Mapping[str, Any]
    variables: Mapping[str, bool]
    files: archive.Files


@dataclass(frozen=True, slots=True)
class HttpTool:
    """An operation of an HTTP API. Its `variables` are taken for secret."""

    name: str
    description: str
    file: str
    fingerprint: str
    input_schema: Mapping[str, Any]
    variables: Mapping[str, bool]
    definition: Mapping[str, Any]


ToolOfFolder = CodeTool | HttpTool


class HttpToolFile(BaseModel):
    """An operation of an HTTP API, with the JSON schema of its arguments."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$", max_length=manifest.LONGEST_NAME)]
    description: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=10_000)]
    definition: HttpOperation
    input_schema: dict[str, Any]


def tools_in(folder: Path) -> Iterator[tuple[ToolOfFolder | None, list[Problem]]]:
    """Read the tools of a folder. Yield each, or None with what is wrong with it."""
    inside = folder / TOOLS
    try:
        paths = sorted(inside.iterdir())
    except FileNotFoundError:
        return
    except OSError as error:
        yield None, [Problem(inside, 1, 1, f"This cannot be read as a folder: {error.strerror}.")]
        return
    for path in paths:
        if path.suffix in {".yaml", ".yml"}:
            yield None, [Problem(path, 1, 1, "Operations here end in .json: this one would not be read.")]
        if path.name.startswith((".", "__")) or (path.is_file() and path.suffix != ".json"):
            continue
        try:
            yield tool_at(folder, path), []
        except WrongFile as wrong:
            yield None, wrong.problems


def tool_at(folder: Path, path: Path) -> ToolOfFolder:
    """Read a tool at its path. Return it.

    Raises:
        WrongFile: its files are wrong, or have another name than the path.
    """
    operation = path if path.suffix == ".json" else path / f"{path.name}.json"
    if operation == path or (operation.exists() and not (path / manifest.FILE).exists()):
        return _http(folder, path.stem if operation == path else path.name, operation)
    try:
        return _code(folder, path)
    except BadTool as error:
        raise WrongFile([Problem(path / manifest.FILE, 1, 1, str(error))]) from None
    except OSError as error:
        raise WrongFile([Problem(path, 1, 1, f"This cannot be read: {error.strerror}.")]) from None


def _code(folder: Path, path: Path) -> CodeTool:
    files = archive.read_folder(path)
    found = archive.project_manifest(files)
    if found.name != path.name:
        raise BadTool(f"name: The folder is called {path.name}, so the tool has this name and not {found.name}.")
    return CodeTool(
        name=found.name,
        description=found.description or found.name,
        file=(path / manifest.FILE).relative_to(folder).as_posix(),
        fingerprint=fingerprint.of_project(files),
        input_schema=found.input_schema,
        variables={**dict.fromkeys(found.plain, False), **dict.fromkeys(found.secret, True)},
        files=files,
    )


def _http(folder: Path, name: str, path: Path) -> HttpTool:
    document = read(path)
    given = _checked(document)
    problem = problem_of_schema(given.input_schema)
    if problem is not None:
        raise WrongFile([document.problem(("input_schema",), problem)])
    if given.name != name:
        text = f"The file is called {name}, so the tool has this name and not {given.name}."
        raise WrongFile([document.problem(("name",), text)])
    definition = given.definition.model_dump(mode="json", by_alias=True)
    return HttpTool(
        name=name,
        description=given.description,
        file=path.relative_to(folder).as_posix(),
        fingerprint=fingerprint.of_remote("http", definition, given.input_schema),
        input_schema=given.input_schema,
        variables=dict.fromkeys(variables_of(given.definition), True),
        definition=definition,
    )


def _checked(document: Document) -> HttpToolFile:
    value = cast("dict[str, Any]", document.value if isinstance(document.value, dict) else {})
    try:
        return HttpToolFile.model_validate(value)
    except ValidationError as error:
        raise WrongFile(
            [document.problem(tuple(wrong["loc"]), wrong["msg"]) for wrong in problems.of_validation(error, value)]
        ) from None
