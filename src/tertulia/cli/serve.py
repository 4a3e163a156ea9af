"""Serve the API: uvicorn in this process, or as several workers that share a socket."""

import errno
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

import uvicorn
from prometheus_client import multiprocess
from uvicorn.supervisors.multiprocess import Multiprocess

from tertulia.cli.failure import MISUSED, CommandFailed

APP = "tertulia.app:create_app"
BACKLOG = 2048
KEEP_ALIVE_S = 65
"""Longer than clients keep idle connections, so that none is closed under a request."""
STOP_S = 15
"""How long open streams may go on after the server was told to stop."""
START_S = 120

Ready = Callable[[], None]
"""Called once the server answers."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        CommandFailed: the port is in use, or there is no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _cannot_listen(error, host, port) from error
    listener.set_inheritable(True)
    return listener


def address(listener: socket.socket) -> str:
    """Where a socket is reached from this host."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{shown}:{port}"


def run_server(listener: socket.socket, workers: int, ready: Ready, app: str = APP) -> None:
    """Serve until SIGINT or SIGTERM, then let open streams end. `app` names a function that makes the application."""
    config = _Config(
        app,
        factory=True,
        http="httptools",
        lifespan="on",
        log_config=None,
        access_log=False,
        workers=workers,
        backlog=BACKLOG,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_S,
    )
    signal.signal(signal.SIGTERM, _leave)
    try:
        if workers == 1:
            _Server(config, ready).run([listener])
        else:
            with _shared_metrics():
                _Workers(config, [listener], ready).run_to_end()
    except KeyboardInterrupt:  # uvicorn raises it again after it has stopped
        pass
    finally:
        listener.close()


class _Config(uvicorn.Config):
    def load(self) -> None:
        super().load()
        _end_with_parent()


def _end_with_parent() -> None:
    """A worker whose parent was killed would keep the port: let it stop as if it had been told to."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Ready) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


class _Workers(Multiprocess):
    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], ready: Ready) -> None:
        super().__init__(config, sockets)
        self._ready = ready
        self._started = False

    def run_to_end(self) -> None:
        self.run()
        if not self._started and not self.signal_queue:
            raise CommandFailed("A worker could not start.")

    def init_processes(self) -> None:
        super().init_processes()
        if all(process.wait_until_ready(START_S, self.should_exit) for process in self.processes):
            self._started = True
            self._ready()
        else:
            self.should_exit.set()

    def keep_subprocess_alive(self) -> None:
        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for pid in before - {process.pid for process in self.processes}:
            multiprocess.mark_process_dead(pid)  # pyright: ignore[reportUnknownMemberType]


@contextmanager
def _shared_metrics() -> Generator[None]:
    """A folder in which the workers count together."""
    with tempfile.TemporaryDirectory(prefix="tertulia-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _cannot_listen(error: OSError, host: str, port: int) -> CommandFailed:
    if error.errno == errno.EADDRINUSE:
        return CommandFailed(f"Port {port} is in use: choose another one with --port (with make: PORT=...).")
    if error.errno == errno.EACCES:
        return CommandFailed(f"Port {port} is not for you: choose one above 1023 with --port.")
    return CommandFailed(f"Cannot listen on {host}: {error.strerror or error}.", MISUSED)
