"""`tertulia pull`: what a server has, as the files of a folder."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from tertulia.cli.client import Session
from tertulia.cli.failure import CommandFailed
from tertulia.cli.library import Library, name_tools
from tertulia.cli.new import folder_for, write_files, write_schemas
from tertulia.cli.show import agree, printable
from tertulia.files import folder as folders
from tertulia.files import tool_uses
from tertulia.files.bodies import Body
from tertulia.files.document import WrongFile, parse, read
from tertulia.files.plan import ServiceOnServer
from tertulia.files.pulling import Pulled, Version, texts_of


def run(console: Console, session: Session, wanted: str, folder: Path | None, *, release: bool, yes: bool) -> None:
    """Write a service into a folder, and ask before files change that are there.

    Raises:
        CommandFailed: there is no such service, nobody agreed, or the folder cannot be written.
    """
    library = Library(session.api)
    with library.expecting():
        pulled = read_service(library, wanted, release=release)
    folder = folder or folder_for(str(pulled.service["name"]))
    texts = texts_of(pulled)
    changed = {path: text for path, text in texts.items() if not _same(folder, path, text)}
    gone = [path for path in _of_the_server(folder) if path not in texts]
    if not changed and not gone:
        console.print(f"Nothing changes: {folder} is as on the server.", markup=False, soft_wrap=True)
        return
    _show_changes(console, folder, changed, gone)
    if (gone or any((folder / path).exists() for path in changed)) and not yes:
        agree(console, "Nobody is here to agree that files change: say --yes.", "Change these files?")
    write_files(folder, changed)
    write_schemas(folder)
    for path in gone:
        (folder / path).unlink()
    console.print(f"{printable(str(pulled.service['name']))} is in {folder}.", markup=False, soft_wrap=True)


def _show_changes(console: Console, folder: Path, changed: Iterable[str], gone: Iterable[str]) -> None:
    """Print a line for each file that will be new, that changes, and that goes."""
    for path in sorted(changed):
        new = not (folder / path).exists()
        console.print(Text.assemble(("+ " if new else "~ ", "green" if new else "yellow"), f"{folder / path}"))
    for path in gone:
        console.print(Text.assemble(("- ", "red"), f"{folder / path} (not on the server)"))


def read_service(library: Library, wanted: str, *, release: bool) -> Pulled:
    """Read a service and its parts, the latest versions or those of the version set `release`. Return them."""
    service = _find_service(list(library.list_services()), wanted)
    numbers: Mapping[str, Any] = service.version_sets.get("release", {}) if release else {}
    agents = {each["id"]: str(each["name"]) for each in library.list_agents()}
    graphs = {each["id"]: each for each in library.list_graphs()}
    latest = {key: int(each["latest_version"] or 0) for key, each in graphs.items()}
    number, body = library.graph_body(
        service.graph_id, numbers.get("service_hierarchical_state_machine_version_number")
    )
    root = (service.graph_id, number)
    tools = {tool.id: tool.name for tool in library.list_tools()}
    closure = _closure(library, root, body, latest)
    return Pulled(
        service=service.body,
        agent_name=agents.get(service.agent_id, service.name),
        agent=library.agent_body(service.agent_id, numbers.get("agent_version_number"))[1],
        graph=root,
        graphs={version: tool_uses.with_names(each, tools) for version, each in closure.items()},
        names={key: str(each["name"]) for key, each in graphs.items()},
        behaviors=[
            name_tools(each.body, tools) for each in library.list_behaviors(service.id) if service.id in each.services
        ],
    )


def _closure(library: Library, root: Version, body: Body, latest: Mapping[str, int]) -> dict[Version, Body]:
    """Read the graphs that a graph refers to in their latest versions, directly or not. Return them and itself."""
    found, waiting = {root: body}, [body]
    while waiting:
        for graph_id, number in waiting.pop()["references"].values():
            version = (str(graph_id), int(number))
            if version not in found and version[0] != root[0] and latest.get(version[0]) == version[1]:
                found[version] = library.graph_body(*version)[1]
                waiting.append(found[version])
    return found


def _find_service(services: list[ServiceOnServer], wanted: str) -> ServiceOnServer:
    for matches in (
        [each for each in services if wanted in {each.name, each.id}],
        [each for each in services if wanted.casefold() == each.name.casefold()],
    ):
        if matches:
            return matches[0]
    raise CommandFailed(f"There is no service {wanted}: `tertulia services` lists them.")


def _same(folder: Path, path: str, text: str) -> bool:
    """Compare a file with what would be written. Return True if it says the same, perhaps with remarks of its own."""
    try:
        written = folders.meaning_of(path, parse(folder / path, text.encode()))
        return folders.meaning_of(path, read(folder / path)) == written
    except WrongFile:
        return False


def _of_the_server(folder: Path) -> Iterator[str]:
    """List the files of a folder that stand for something on the server. Yield their paths."""
    for collection in ("graphs", "behaviors"):
        for path in sorted((folder / collection).glob("*.yaml")):
            yield f"{collection}/{path.name}"
