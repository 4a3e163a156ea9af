"""Events and messages on a terminal."""

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from tertulia.cli.failure import CommandFailed

STYLES = {
    "conversation-created": "bold green",
    "user-message-available": "bold magenta",
    "current-agent-action": "cyan",
    "new-message": "bold",
    "interaction-complete": "bold green",
    "error": "bold red",
}
PIECE = frozenset({"message", "sequence_number", "stop"})
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """Remove characters that would steer the terminal. Return the text."""
    return _CONTROL.sub("", text)


def show_event(console: Console, event: dict[str, Any]) -> None:
    """One line: the type, then the other fields as they came; of a piece of the reply only those that differ."""
    kind = str(event["type"])
    fields = {
        name: value for name, value in event.items() if name in PIECE or (name != "type" and kind != "new-message")
    }
    line = Text.assemble((f"{kind:<23}", STYLES.get(kind, "")), " ", printable(json.dumps(fields, ensure_ascii=False)))
    console.print(line, soft_wrap=True)


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows with their columns below each other, for people and for scripts."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(printable("  ".join(cells)).rstrip())


def indent(console: Console, text: Text, columns: int, hanging: int = 0) -> None:
    """Print a text that keeps off the left, its further lines by `hanging` more; to a file, in one line."""
    if not console.is_terminal:
        console.print(Text.assemble(" " * columns, text), soft_wrap=True)
        return
    room = max(20, console.width - columns - hanging)
    lines = text.wrap(console, room) if not hanging else _wrap(console, text, room, hanging)
    for line in lines:
        console.print(Text.assemble(" " * columns, line), soft_wrap=True)


def _wrap(console: Console, text: Text, room: int, hanging: int) -> list[Text]:
    """Break a text whose further lines begin later. Return its lines."""
    first, *others = text.wrap(console, room + hanging)
    if not others:
        return [first]
    rest = text[len(first.plain) :]
    rest = rest[len(rest.plain) - len(rest.plain.lstrip()) :]
    return [first, *(Text.assemble(" " * hanging, line) for line in rest.wrap(console, room))]


def agree(console: Console, nobody: str, question: str) -> None:
    """Ask the person at the terminal.

    Raises:
        CommandFailed: they do not agree, or `nobody` is there.
    """
    if not sys.stdin.isatty():
        raise CommandFailed(nobody)
    try:
        answer = console.input(f"{question} \\[y/N] ")
    except (EOFError, KeyboardInterrupt):
        console.print()
        answer = ""
    if answer.strip().casefold() not in {"y", "yes"}:
        raise CommandFailed("Nothing was changed.")
