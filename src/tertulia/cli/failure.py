"""How a command ends when it cannot do its work: one line on standard error and an exit status, never a stack trace."""

import errno
from typing import Any

from rich.console import Console
from rich.text import Text
from sqlalchemy.exc import DBAPIError
from typer import Exit
from typer.core import TyperGroup

from tertulia.auth.secrets import WrongSecretKey
from tertulia.errors import TertuliaError
from tertulia.serving.failure import ServingFailed

FAILED = 1
MISUSED = 2
"""The exit statuses: it did not work, and it was called or set up wrongly."""


class CommandFailed(Exception):
    """What the person at the terminal reads, and the exit status."""

    def __init__(self, text: str, status: int = FAILED) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


class Commands(TyperGroup):
    """The group of all commands: the one place where errors become lines."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CommandFailed as error:
            raise _exit(error.text, error.status) from error
        except ServingFailed as error:
            raise _exit(error.text, MISUSED if error.misused else FAILED) from error
        except WrongSecretKey as error:
            raise _exit(str(error), MISUSED) from error
        except TertuliaError as error:
            raise _exit(error.detail, FAILED) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read the output has left
                raise
            raise _exit(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), FAILED) from error
        except DBAPIError as error:
            raise _exit(f"The database does not work: {_first_line(error.orig)}", FAILED) from error


def warn(text: str) -> None:
    """Tell the person at the terminal, in one line, of something that does not stop the command."""
    _tell(text, "bold yellow")


def _exit(text: str, status: int) -> Exit:
    _tell(text, "bold red")
    return Exit(status)


def _tell(text: str, style: str) -> None:
    Console(stderr=True, soft_wrap=True).print(Text.assemble(("tertulia: ", style), text))


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "unknown error"
