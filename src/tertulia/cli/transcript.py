"""A conversation on a terminal: who speaks, in lines that end between words, and a sign of life before a reply."""

from rich.cells import cell_len
from rich.console import Console
from rich.status import Status
from rich.text import Text

from tertulia.cli.show import printable
from tertulia.cli.wrapping import Wrapping


class Transcript:
    """The text of a conversation, written as it comes. `agent_name` stands before each of the agent's replies."""

    def __init__(self, console: Console, agent_name: str) -> None:
        self._console = console
        self.agent_name = printable(agent_name)
        self._status: Status | None = None
        self._reply: Wrapping | None = None

    def wait(self) -> None:
        """Show that the agent is at work, until it says something. Output that is no terminal shows nothing."""
        if self._console.is_terminal and self._status is None:
            self._status = self._console.status(Text(f"{self.agent_name} is thinking", "dim"), spinner_style="dim")
            self._status.start()

    def settle(self) -> None:
        """Take the sign of life away, and end a reply that was left in the middle of a line."""
        if self._status is not None:
            self._status.stop()
            self._status = None
        if self._reply is not None:
            self._reply.finish()
            self._reply = None
            self._console.print()

    def piece(self, text: str) -> None:
        """Write a piece of the agent's reply."""
        if self._reply is None:
            self.settle()
            self._reply = self._begin(self.agent_name)
        self._reply.feed(printable(text))

    def say(self, sender: str, text: str) -> None:
        """Write a message as a whole."""
        self.settle()
        self._reply = self._begin(printable(sender))
        self._reply.feed(printable(text))
        self.settle()

    def _begin(self, name: str) -> Wrapping:
        self._console.print(Text.assemble("\n", (name, "bold"), " "), end="")
        return wrapping(self._console, cell_len(name) + 1)


def wrapping(console: Console, column: int = 0) -> Wrapping:
    """Make a writer of words to a console, from a column on. Return it; lines are broken only on a terminal."""

    def write(text: str) -> None:
        console.print(text, end="", markup=False, highlight=False, soft_wrap=True)

    return Wrapping(write, console.width if console.is_terminal else _ENDLESS, column)


_ENDLESS = 1 << 60
