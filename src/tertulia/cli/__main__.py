"""The program `tertulia`. A Ctrl-C while it is being loaded ends it without a word."""

import os
import signal
import sys

_MODES = {"stdin": "r", "stdout": "w", "stderr": "w"}


def main() -> None:
    """Load the commands, and run the one that is asked for."""
    _open_standard_streams()
    heard = signal.getsignal(signal.SIGINT)
    if heard is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tertulia.cli.main import app  # noqa: PLC0415 - loading takes its time

    signal.signal(signal.SIGINT, heard)
    app()


def _open_standard_streams() -> None:
    """Lead standard streams that whoever starts the program has closed to nowhere.

    Else a database or a socket would be the next file that is opened, and get their number and what is written to them.
    """
    for number, (name, mode) in enumerate(_MODES.items()):
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


if __name__ == "__main__":
    main()
