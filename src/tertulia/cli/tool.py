"""Tools in folders: begun from the scaffold, tried in the sandbox of this machine, and published to a server."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from tertulia.cli.client import Api, pages
from tertulia.cli.failure import MISUSED, CommandFailed
from tertulia.settings import Settings
from tertulia.tools import archive, scaffold
from tertulia.tools.addresses import AddressRules, Connector
from tertulia.tools.arguments import problem_of_arguments
from tertulia.tools.manifest import Manifest
from tertulia.tools.sandbox import Sandbox
from tertulia.tools.values import ToolCall, ToolOutcome, ToolProgram, ToolSucceeded

EXAMPLES = "examples.json"
"""The file of a project with inputs, and the outputs that they must give."""

OPERATION = frozenset({"name", "description", "definition", "input_schema"})
"""The fields of a file with an operation of an HTTP API."""


@dataclass(frozen=True, slots=True)
class Example:
    """An input of a tool, and the output that it must give; None: whichever."""

    given: Mapping[str, Any]
    output: str | None


@dataclass(frozen=True, slots=True)
class Tried:
    """An example and its outcome. `problem` says in words what is wrong; None: nothing."""

    example: Example
    outcome: ToolOutcome
    problem: str | None


def new(folder: Path, name: str) -> list[str]:
    """Begin a tool in a folder that is not there yet, or empty. Return the paths of its files.

    Raises:
        BadTool: the name is none of a tool.
        CommandFailed: there is something in the folder.
    """
    files = scaffold.files(name)
    archive.project_manifest(files)
    if folder.exists() and any(folder.iterdir()):
        raise CommandFailed(f"There is something in {folder} already.", MISUSED)
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        (folder / path).write_bytes(content)
    return sorted(files)


def read(folder: Path) -> tuple[Manifest, archive.Files]:
    """Read the project in a folder. Return its manifest and its files.

    Raises:
        BadTool: a file is wrong or missing; names it.
        CommandFailed: there is no such folder.
    """
    if not folder.is_dir():
        raise CommandFailed(f"There is no folder {folder}.", MISUSED)
    files = archive.read_folder(folder)
    return archive.project_manifest(files), files


# --- Test ------------------------------------------------------------------------------------------------------------


def test(settings: Settings, folder: Path) -> Sequence[Tried]:
    """Call the tool in a folder with each of its examples, in the sandbox. Return them with their outcomes.

    The variables that the manifest requires are taken from the environment of this process.

    Raises:
        CommandFailed: there are no examples, or a variable is missing.
    """
    manifest, files = read(folder)
    environment = _environment(manifest)
    examples = list(_examples(files))
    if not examples:
        raise CommandFailed(f"{folder} has no examples: write some into {EXAMPLES}.")
    return asyncio.run(_try(settings, manifest, archive.pack(files), examples, environment))


def _environment(manifest: Manifest) -> dict[str, str]:
    required = (*manifest.plain, *manifest.secret)
    missing = [name for name in required if name not in os.environ]
    if missing:
        raise CommandFailed(f"The tool requires variables; set them for this command: {', '.join(missing)}.", MISUSED)
    return {name: os.environ[name] for name in required}


def _examples(files: archive.Files) -> Iterator[Example]:
    try:
        found = json.loads(files.get(EXAMPLES, b"[]"))
    except ValueError as error:
        raise CommandFailed(f"{EXAMPLES}: not JSON: {error}") from error
    if not isinstance(found, list):
        raise CommandFailed(f"{EXAMPLES}: must be a list of examples.")
    for number, item in enumerate(cast("list[Any]", found)):
        example = cast("dict[str, Any]", item if isinstance(item, dict) else {})
        given = example.get("input")
        if not isinstance(given, dict):
            raise CommandFailed(f'{EXAMPLES}: example {number + 1} must be an object with an object "input".')
        output = example.get("output")
        told = output if isinstance(output, str) or output is None else json.dumps(output)
        yield Example(cast("dict[str, Any]", given), told)


async def _try(
    settings: Settings, manifest: Manifest, packed: bytes, examples: Sequence[Example], environment: Mapping[str, str]
) -> Sequence[Tried]:
    digest = archive.digest(packed)
    program = ToolProgram("local", manifest.name, "0.0.0", "code", manifest.definition(), manifest.input_schema, digest)
    async with _sandbox(settings, packed) as sandbox:
        return [await _tried(sandbox, program, example, environment) for example in examples]


@asynccontextmanager
async def _sandbox(settings: Settings, packed: bytes) -> AsyncGenerator[Sandbox]:
    async def load(_digest: str) -> bytes:
        return packed

    connector = Connector(AddressRules.parse(settings.tools.allow))
    with TemporaryDirectory(prefix="tertulia-tool-", ignore_cleanup_errors=True) as cache:
        os.chmod(cache, 0o711)  # noqa: S103 - a tool that runs as another user has to pass
        sandbox = Sandbox(Path(cache), load, connector.connect)
        try:
            yield sandbox
        finally:
            await sandbox.aclose()
            connector.close()


async def _tried(sandbox: Sandbox, program: ToolProgram, example: Example, environment: Mapping[str, str]) -> Tried:
    wrong = problem_of_arguments(example.given, program.input_schema)
    call = ToolCall(example.given, "example", environment, {}, {})
    outcome = await sandbox.call(program, call)
    if wrong is not None:
        return Tried(example, outcome, f"the input does not fit the schema: {wrong}")
    if not isinstance(outcome, ToolSucceeded):
        return Tried(example, outcome, f"{outcome.exception_type}: {outcome.exception_message}")
    if example.output is not None and outcome.output != example.output:
        return Tried(example, outcome, f"{outcome.output} instead of {example.output}")
    return Tried(example, outcome, None)


# --- Publish ---------------------------------------------------------------------------------------------------------


def publish(api: Api, place: Path, bump: str | None) -> tuple[str, str]:
    """Publish what is at a place as the next version of the tool of its name. Return the name and the version.

    A folder has a project; a file, the JSON of an operation of an HTTP API. A tool that does not exist is created.
    Without `bump`, a first version is major and a later one minor.

    Raises:
        BadTool: a file of the project is wrong or missing; names it.
        CommandFailed: there is no such place, the file is not such JSON, or the server refuses it.
    """
    if place.is_file():
        operation = _operation(place)
        tool_id, chosen = _next(api, operation["name"], operation["description"], bump)
        body = {"definition": operation["definition"], "input_schema": operation["input_schema"], "bump_type": chosen}
        return operation["name"], api.send("POST", f"/tool/{tool_id}/version/http", body)["new_version"]
    manifest, files = read(place)
    tool_id, chosen = _next(api, manifest.name, manifest.description or manifest.name, bump)
    path = f"/tool/{tool_id}/version/archive"
    return manifest.name, api.post_archive(path, archive.pack(files), bump_type=chosen)["new_version"]


def _operation(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except ValueError as error:
        raise CommandFailed(f"{file}: not JSON: {error}", MISUSED) from error
    if not isinstance(found, dict) or OPERATION - cast("dict[str, Any]", found).keys():
        raise CommandFailed(f"{file}: must be an object with {', '.join(sorted(OPERATION))}.", MISUSED)
    return cast("dict[str, Any]", found)


def _next(api: Api, name: str, description: str, bump: str | None) -> tuple[str, str]:
    """Find the tool of a name, or create it. Return its identifier, and the number that its next version counts up."""
    found = _find(api, name) or api.send("POST", "/tool/", {"name": name, "description": description, "tags": {}})
    versions = api.get(f"/tool/{found['id']}/version", limit=1)["tool_versions"]
    return found["id"], bump or ("minor" if versions else "major")


def _find(api: Api, name: str) -> dict[str, Any] | None:
    """Look for the tool of a name. Return it, or None."""
    tools = pages(api.url, api.get, "/tool/", "tools", deprecated=False, limit=20, sort_by="+name")
    return next((tool for tool in tools if tool["name"] == name), None)
