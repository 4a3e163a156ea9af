"""Fixtures: `data`, a folder that is not there yet; `command` and `start`, which run the program there;
`made`, an installation in that folder.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.commands import PATIENCE_S, TERTULIA, Command, Process, Start


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A data folder to copy, and what `init` printed."""
    folder = tmp_path_factory.mktemp("installation")
    done = subprocess.run([TERTULIA, "init", "--data", folder, "--json"], check=True, capture_output=True, cwd=folder)
    return folder, json.loads(done.stdout)


@pytest.fixture
def made(data: Path, installation: tuple[Path, dict[str, str]]) -> dict[str, str]:
    """An installation in `data`: what `init` printed."""
    shutil.copytree(installation[0], data)
    return installation[1]


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """Runs `tertulia` in an empty folder; keywords are variables of its environment."""

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
    running: list[Process] = []

    def run(*arguments: object, until: str = "answers on", **variables: str) -> Process:
        process = subprocess.Popen(
            [TERTULIA, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=(tmp_path / "log").open("wb"),
            text=True,
            cwd=tmp_path,
            env={**os.environ, "COLUMNS": "60", **variables},
        )
        running.append(Process(process, []))
        running[-1].read_until(until)
        return running[-1]

    yield run
    for started in running:
        if started.process.poll() is None:
            started.process.kill()
        started.process.wait(PATIENCE_S)
        assert started.process.stdout is not None
        started.process.stdout.close()
