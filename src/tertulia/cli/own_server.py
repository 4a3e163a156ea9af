"""A server of a command's own: with a folder that goes with it, on a free port of loopback."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tertulia.cli.failure import CommandFailed
from tertulia.cli.installation import make_demo
from tertulia.cli.options import load_settings, override
from tertulia.demo.organization import ORGANIZATION, Demo
from tertulia.settings import Settings

STOP_S = 20
_OF_AN_INSTALLATION = (
    "CLUSTERS",
    "CONFIG",
    "DATA",
    "DATABASE",
    "HOST",
    "PORT",
    "RELAY",
    "SECRET_KEY",
    "WORKERS",
)
"""Beginnings of the settings that belong to an installation; those of models and their vendors stay."""


@dataclass(frozen=True, slots=True)
class OwnServer:
    """A server that runs, and the demo organization in it."""

    url: str
    demo: Demo
    settings: Settings


@contextmanager
def own_server(
    prefix: str, changes: Mapping[str, str], weights: Path | None = None, *, keep: bool = False
) -> Generator[OwnServer]:
    """Start a server with these settings. Yield it; it stops afterwards, and its folder goes.

    Other settings are the defaults; with `keep`, those of models stay as the environment has them. Weights are taken
    from the folder `weights`, and put there: the next server has them.
    """
    with tempfile.TemporaryDirectory(prefix=prefix) as folder:
        for name in [name for name in os.environ if name.startswith("TERTULIA_")]:
            if not keep or name.removeprefix("TERTULIA_").startswith(_OF_AN_INSTALLATION):
                del os.environ[name]
        for name, value in changes.items():
            override(name, value)
        settings = load_settings(Path(folder))
        if weights is not None:
            weights.mkdir(parents=True, exist_ok=True)
            (settings.data / "models").symlink_to(weights.absolute())
        made = make_demo(settings, ORGANIZATION, None)
        with _serving(Path(folder)) as url:
            yield OwnServer(url, made, settings)


@contextmanager
def _serving(folder: Path) -> Generator[str]:
    """Run `tertulia serve` on a free port of loopback. Yield its address."""
    command = [sys.executable, "-P", "-m", "tertulia.cli", "serve", "--data", str(folder), "--port", "0"]
    log = folder / "server.log"
    with log.open("wb") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:  # noqa: S603 - our own
        try:
            yield _address(process, log)
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Read the last word of the line that the server prints once it answers. Return it."""
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    line = process.stdout.readline().decode().strip()
    if not line:
        raise CommandFailed(f"The server did not start: {log.read_text()[-2000:].strip()}")
    return line.rpartition(" ")[2]
