"""Lines that a person types at a terminal: edited wherever the cursor is, and pasted as a whole."""

import io
import re
import sys

from rich.console import Console

try:
    import readline
except ImportError:  # some builds of Python have none
    readline = None

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def replace_undecodable_input() -> None:
    """Have input that is not UTF-8 read as U+FFFD, since nothing else of it could be sent."""
    given: object = sys.stdin
    if isinstance(given, io.TextIOWrapper):
        given.reconfigure(errors="replace")


def read_line(console: Console, prompt: str) -> str:
    """Read what a person types behind a prompt, which is markup. Returns it; a text that was pasted keeps its lines.

    Raises:
        EOFError: nothing more will come.
    """
    if readline is None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        return console.input(prompt)
    # Python turns it off; but then each line of a text that is pasted would be a message of its own.
    readline.parse_and_bind("set enable-bracketed-paste on")
    with console.capture() as captured:
        console.print(prompt, end="")
    # The editor counts columns, and takes what stands between these marks for none.
    return input(_COLOUR.sub("\x01\\g<0>\x02", captured.get()))
