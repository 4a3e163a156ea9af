"""`tertulia import`: agents of another server, in JSON as its API gives them, made a folder."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.text import Text

from tertulia.cli.failure import CommandFailed
from tertulia.cli.library import graph_of
from tertulia.cli.new import folder_for, write_files, write_schemas
from tertulia.cli.show import printable
from tertulia.files.document import WrongFile
from tertulia.files.folder import load
from tertulia.files.importing import Imported, NothingFound
from tertulia.files.pulling import texts_of

LARGEST_BYTES: Final = 50_000_000
_MOST_TOLD: Final = 20


def run(console: Console, files: Sequence[Path], service: str | None, out: Path | None) -> None:
    """Make a folder of what stands in some files.

    Raises:
        CommandFailed: a file is no JSON or not of the API's form, parts are missing, or the folder is not empty.
    """
    values = [read_json(path) for path in files]
    try:
        pulled = Imported(values).pulled(service, files[0].stem, graph_of)
        texts = texts_of(pulled)
    except NothingFound as error:
        raise CommandFailed(str(error)) from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise CommandFailed("This is not the form in which the API gives agents, graphs and services.") from error
    folder = out or folder_for(str(pulled.service["name"]))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CommandFailed(f"The folder {folder} is not empty: name another with --out.")
    write_files(folder, texts)
    write_schemas(folder)
    for file in sorted(texts):
        console.print(Text.assemble(("+ ", "green"), printable(str(folder / file))), soft_wrap=True)
    try:
        load(folder)
    except WrongFile as wrong:
        console.print(Text("\nBefore it can be applied here:", "yellow"))
        for problem in wrong.problems[:_MOST_TOLD]:
            console.print(Text(printable(str(problem))), soft_wrap=True)
    else:
        console.print(Text(f"\nNext: tertulia dev {printable(str(folder))}"), soft_wrap=True)


def read_json(path: Path) -> Any:
    """Read a file of JSON. Return its value, or raise CommandFailed with the place of a mistake."""
    if path.exists() and not path.is_file():
        raise CommandFailed(f"{path} is no file.")
    with path.open("rb") as file:
        body = file.read(LARGEST_BYTES + 1)
    if len(body) > LARGEST_BYTES:
        raise CommandFailed(f"{path} has more than {LARGEST_BYTES} bytes.")
    try:
        value = json.loads(body.decode("utf-8-sig"))
        # an escape that is half a character has no place in a file
        return json.loads(json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace"))
    except json.JSONDecodeError as error:
        raise CommandFailed(f"{path}:{error.lineno}:{error.colno}: {error.msg}.") from error
    except UnicodeDecodeError as error:
        raise CommandFailed(f"{path} is not UTF-8.") from error
    except (ValueError, RecursionError) as error:
        raise CommandFailed(f"{path} has a number that is too large, or is nested too deeply.") from error
