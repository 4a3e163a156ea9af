"""The program `tertulia`. A Ctrl-C while it is being loaded ends it without a word."""

import signal


def main() -> None:
    """Load the commands, and run the one that is asked for."""
    heard = signal.getsignal(signal.SIGINT)
    if heard is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from tertulia.cli.main import app  # noqa: PLC0415 - loading takes its time

    signal.signal(signal.SIGINT, heard)
    app()


if __name__ == "__main__":
    main()
