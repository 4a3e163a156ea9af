"""Fixtures of the command line and of its servers.

- `data`: a folder that is not there yet; `made`: an installation in it.
- `command` runs the program in this process, `program` in a process of its own; `start` starts one that serves.
- `server`: one that serves the module, on the folder `shared`.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commands import PATIENCE_S, TERTULIA, Command, Process, Start, Starter, run_here


@pytest.fixture(scope="session", autouse=True)
def _sigint_is_heard() -> None:
    """Whoever runs the tests in the background of a shell has it ignored, and every process started inherits that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A data folder to copy, and what `init` printed."""
    folder = tmp_path_factory.mktemp("installation")
    done = run_here(["init", "--data", str(folder), "--json"], "", {})
    return folder, json.loads(done.stdout)


@pytest.fixture
def made(data: Path, installation: tuple[Path, dict[str, str]]) -> dict[str, str]:
    """An installation in `data`: what `init` printed."""
    shutil.copytree(installation[0], data)
    return installation[1]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `tertulia` in an empty folder, in this process; keywords are variables of its environment."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, stdin: str = "", **variables: str) -> "subprocess.CompletedProcess[str]":
        return run_here([*map(str, arguments)], stdin, variables)

    return run


@pytest.fixture
def program(tmp_path: Path) -> Command:
    """Runs `tertulia` in an empty folder, as a process; keywords are variables of its environment."""

    def run(*arguments: object, stdin: str = "", **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [TERTULIA, *map(str, arguments)],
            check=False,
            capture_output=True,
            text=True,
            input=stdin,
            cwd=tmp_path,
            env={**os.environ, **variables},
            timeout=PATIENCE_S,
        )

    return run


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a command that serves, and reads up to the line that ends its greeting."""
    starter = Starter(tmp_path)
    yield starter
    starter.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, installation: tuple[Path, dict[str, str]]) -> Path:
    """The data folder of the module's server."""
    folder = tmp_path_factory.mktemp("shared") / "data"
    shutil.copytree(installation[0], folder)
    return folder


@pytest.fixture(scope="module")
def server(shared: Path) -> Iterator[Process]:
    """A server of the module with the scripted model and without limits."""
    starter = Starter(shared.parent)
    yield starter("serve", "--data", shared, "--port", "0", TERTULIA_RATE_LIMITS="off")
    starter.end()
