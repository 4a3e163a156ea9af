"""Failures of commands: one line on standard error and an exit status, never a stack trace."""

import errno
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from typer import Abort, Exit
from typer.core import TyperGroup
from typer.exceptions import TyperException

from tertulia.errors import TertuliaError
from tertulia.serving.failure import ServingFailed

if TYPE_CHECKING:
    from tertulia.files.document import Problem

FAILED = 1
MISUSED = 2
"""The exit statuses: it did not work, and it was called or set up wrongly."""


class CommandFailed(Exception):
    """A failure of a command: the line for the person at the terminal, and the exit status."""

    def __init__(self, text: str, status: int = FAILED, problems: "Sequence[Problem]" = ()) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.problems = problems
        """The places in files that it is about, which the text names too."""


_OWN = (Abort, Exit, TyperException)
"""Typer's own way to end a command."""


class Commands(TyperGroup):
    """The group of all commands: the one place where errors become lines."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CommandFailed as error:
            raise _exit(error.text, error.status) from error
        except ServingFailed as error:
            raise _exit(error.text, MISUSED if error.misused else FAILED) from error
        except TertuliaError as error:
            raise _exit(error.detail, FAILED) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read the output has left
                raise
            raise _exit(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "), FAILED) from error
        except _OWN:
            raise
        except Exception as error:
            if (line := _line_of(error)) is None:
                raise
            raise _exit(*line) from error


def _line_of(error: Exception) -> tuple[str, int] | None:
    """Say what a library's error means, and the exit status. Returns None if nobody expected that error."""
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415 - only for a command that has failed

    from tertulia.auth.secrets import WrongSecretKey  # noqa: PLC0415 - as above

    if isinstance(error, WrongSecretKey):
        return str(error), MISUSED
    if isinstance(error, DBAPIError):
        return f"The database does not work: {_first_line(error.orig)}", FAILED
    return None


def warn(text: str) -> None:
    """Tell the person at the terminal, in one line, of something that does not stop the command."""
    _tell(text, "bold yellow")


def _exit(text: str, status: int) -> Exit:
    _tell(text, "bold red")
    return Exit(status)


def _tell(text: str, style: str) -> None:
    from rich.console import Console  # noqa: PLC0415 - only now is there something to say
    from rich.text import Text  # noqa: PLC0415 - as above

    Console(stderr=True, soft_wrap=True).print(Text.assemble(("tertulia: ", style), text))


def _first_line(error: BaseException | None) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "unknown error"
