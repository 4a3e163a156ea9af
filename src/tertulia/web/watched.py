"""The latest word about the folder that `tertulia dev` watches, for open pages.

The watcher and the server are one process. Between them stands a file in the data folder, which belongs to the process
whose number it has: what another one left behind is nobody's word.
"""

import json
import os
from pathlib import Path
from typing import Any

FILE = "watched.json"


def tell(data: Path, word: dict[str, Any]) -> None:
    """Tell open pages a word about the folder; it takes the place of the last one."""
    last = read(data)
    number = int(last["number"]) + 1 if last else 1
    path = data / FILE
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps({"process": os.getpid(), "number": number, **word}), "utf-8")
    beside.replace(path)


def read(data: Path) -> dict[str, Any] | None:
    """Read the latest word of this process. Return it, or None if it watches no folder."""
    try:
        word: dict[str, Any] = json.loads((data / FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return word if word.get("process") == os.getpid() else None
