"""`tertulia new` and `tertulia schema`: a folder that talks, and what completes its fields in editors."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from tertulia.cli.failure import CommandFailed
from tertulia.cli.show import printable
from tertulia.files import schemas, template


def new(console: Console, folder: Path) -> None:
    """Make a folder with an agent.

    Raises:
        CommandFailed: there is something in the folder already, or its name has no letters.
    """
    title = template.title_of(folder.resolve().name)
    if not title or not title.isprintable():
        raise CommandFailed(f"{folder}: name the folder with letters, for its service is called after it.")
    if folder.is_dir() and any(folder.iterdir()):
        raise CommandFailed(f"The folder {folder} is not empty: nothing was written.")
    if folder.exists() and not folder.is_dir():
        raise CommandFailed(f"{folder} is a file.")
    write_files(folder, template.new_folder(title))
    write_schemas(folder)
    shown = printable(str(folder))
    named = shlex.quote(printable(f"./{folder}" if str(folder).startswith("-") else str(folder)))
    console.print(f"Made {shown}, an agent that talks. Its files:\n", markup=False, soft_wrap=True)
    for file, about in _ABOUT.items():
        console.print(f"  {file:<26}{about}", markup=False, soft_wrap=True)
    console.print(f"\nNext: tertulia dev {named}", markup=False, soft_wrap=True)


_ABOUT = {
    "agent.yaml": "who speaks",
    "graph.yaml": "what is to be done",
    "service.yaml": "what users talk to",
    "behaviors/*.yaml": "what to do when a matter comes up",
    "conversations/*.yaml": "conversations that it must hold",
}


def folder_for(service: str) -> Path:
    """Name a folder as a service is called: `Pizza order` is `pizza-order`. Return its path."""
    words = "".join(char.lower() if char.isalnum() else " " for char in service).split()
    return Path("-".join(words)[:60] or "agent")


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write files into a folder, which is made.

    Raises:
        CommandFailed: a link or something else is in the place of a file; nothing is written then.
    """
    for file in files:
        _require_place(folder, folder / file)
    for file, text in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8", newline="\n")


def _require_place(folder: Path, path: Path) -> None:
    inner = path.parent
    if inner != folder and (inner.is_symlink() or (inner.exists() and not inner.is_dir())):
        raise CommandFailed(f"{inner} is no folder of its own: nothing was written.")
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise CommandFailed(f"{path} is no file of its own: nothing was written.")


def write_schemas(folder: Path) -> None:
    """Write the schemas of all kinds of files into a folder of agents."""
    write_files(folder, {f".schemas/{name}.json": as_json(name) for name in schemas.names()})


def as_json(name: str) -> str:
    """Write a schema as JSON. Return its text.

    Raises:
        CommandFailed: there is no such schema.
    """
    if name not in schemas.names():
        raise CommandFailed(f"There is no schema {name}; there are {', '.join(schemas.names())}.")
    return json.dumps(schemas.schema_of(name), ensure_ascii=False, indent=1) + "\n"
