"""A real Redis on loopback, which can be stopped, frozen and started again."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from redis import Redis
from redis.exceptions import ConnectionError as NotThere

from support.commands import PATIENCE_S

PROGRAM = shutil.which("redis-server")


@dataclass
class RedisServer:
    """A Redis that keeps nothing on a disk."""

    port: int
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        assert PROGRAM is not None
        options = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--daemonize", "no"]
        self._process = subprocess.Popen(
            [PROGRAM, "--port", str(self.port), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until = time.monotonic() + PATIENCE_S
        with Redis(port=self.port) as client:
            while time.monotonic() < until:
                try:
                    client.ping()
                except NotThere:
                    time.sleep(0.02)
                else:
                    return
        raise AssertionError("Redis does not start")

    def stop(self) -> None:
        """Have it end, as if its host were gone."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(PATIENCE_S)

    @contextmanager
    def frozen(self) -> Generator[None]:
        """Freeze it: it takes connections and requests, and answers none."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def full(self) -> Generator[None]:
        """Leave it no memory: it answers, and takes nothing in."""
        with Redis(port=self.port) as client:
            client.config_set("maxmemory", 1)
            try:
                yield
            finally:
                client.config_set("maxmemory", 0)

    def names(self) -> list[bytes]:
        """Return the names of what it holds."""
        with Redis(port=self.port) as client:
            return list(client.scan_iter("*"))

    def hang_up(self) -> None:
        """Close all connections, as a timeout would that idle ones have."""
        with Redis(port=self.port) as client:
            client.client_kill_filter(_type="normal", skipme=True)

    def reads(self) -> int:
        """Return the number of its reads from connections."""
        with Redis(port=self.port) as client:
            return int(client.info("stats")["total_reads_processed"])


@contextmanager
def running() -> Generator[RedisServer]:
    """Run one. Yields it."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    server = RedisServer(port)
    server.start()
    try:
        yield server
    finally:
        server.stop()
