"""Commands as a person or a script starts them: most in this process, servers and some others in their own."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil
from typer.testing import CliRunner

from tertulia.cli.main import app

TERTULIA = str(Path(sys.executable).with_name("tertulia"))
PATIENCE_S = 60

Command = Callable[..., "subprocess.CompletedProcess[str]"]
"""Runs `tertulia` to its end."""


def run_here(arguments: list[str], stdin: str, variables: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """A command in this process, which it leaves as it was: no imports to wait for."""
    before = dict(os.environ)
    try:
        done = CliRunner().invoke(app, arguments, input=stdin, env=variables)
    finally:
        os.environ.clear()
        os.environ.update(before)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


@dataclass
class Process:
    """A server that a command started; `lines` is what it printed until it said that it answers."""

    process: "subprocess.Popen[str]"
    lines: list[str]

    @property
    def output(self) -> str:
        return "".join(self.lines)

    @property
    def url(self) -> str:
        """Read the address at which it answers from the last line."""
        return self.lines[-1].split()[-1]

    def read_until(self, text: str) -> None:
        """Read its output up to a line with this text."""
        stdout = self.process.stdout
        assert stdout is not None
        watch = threading.Timer(PATIENCE_S, self.process.kill)
        watch.start()
        try:
            for line in stdout:
                self.lines.append(line)
                if text in line:
                    return
        finally:
            watch.cancel()
        raise AssertionError(f"it ended with {self.process.wait(PATIENCE_S)}: {self.output}")

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Its exit status."""
        self.process.send_signal(how)
        return self.process.wait(PATIENCE_S)

    def workers(self) -> list[psutil.Process]:
        """The processes that serve, where it has started several."""
        return workers_of(psutil.Process(self.process.pid))

    def client_of(self, worker: psutil.Process | None, **headers: str) -> httpx2.Client:
        """A client whose one connection ends at this worker: the others stand still while it is made. It is kept."""
        limits = httpx2.Limits(max_connections=1, keepalive_expiry=PATIENCE_S)
        client = httpx2.Client(base_url=self.url, headers=headers, limits=limits, timeout=PATIENCE_S, trust_env=False)
        others = [other for other in self.workers() if other != worker]
        for other in others:
            other.suspend()
        try:
            client.get("/healthz")
        finally:
            for other in others:
                other.resume()
        return client


def workers_of(server: psutil.Process) -> list[psutil.Process]:
    """The processes that serve for a server: the children of the child that forks them."""
    with suppress(psutil.Error):  # one has ended meanwhile
        nurseries = [child for child in server.children() if "forkserver" in " ".join(child.cmdline())]
        return [worker for nursery in nurseries for worker in nursery.children()]
    return []


Start = Callable[..., Process]
"""Starts a `tertulia` that serves."""


@dataclass
class Starter:
    """Starts commands that serve, in a folder, and ends them."""

    folder: Path
    running: list[Process] = field(default_factory=list)

    def __call__(self, *arguments: object, until: str = "answers on", **variables: str) -> Process:
        """Start one, and read up to the line that ends its greeting; keywords are variables of its environment."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [TERTULIA, *map(str, arguments)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.folder,
                env={**os.environ, "COLUMNS": "60", **variables},
            )
        self.running.append(Process(process, []))
        self.running[-1].read_until(until)
        return self.running[-1]

    def end(self) -> None:
        for started in self.running:
            if started.process.poll() is None:
                started.process.kill()
            started.process.wait(PATIENCE_S)
            assert started.process.stdout is not None
            started.process.stdout.close()
        if self.running:
            assert "Traceback" not in (self.folder / "log").read_text()
