"""Serve the API: a server in this process, or several workers that share its socket."""

import errno
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

from tertulia.serving.failure import ServingFailed
from tertulia.serving.server import BACKLOG, make_server
from tertulia.serving.workers import Workers
from tertulia.settings import Settings

APP = "tertulia.app:create_app"

Ready = Callable[[], None]
"""Called once the server answers."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ServingFailed: the port is in use, or there is no such address.
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
    return listener


def check(settings: Settings, host: str, port: int) -> None:
    """See that the addresses can be listened on, before anything else takes its time.

    Raises:
        ServingFailed: one cannot.
    """
    listen(host, port).close()
    try:
        listen(settings.relay.host, 0).close()
    except ServingFailed as error:
        raise ServingFailed(f"TERTULIA_RELAY_HOST: {error}", misused=True) from error


def address(listener: socket.socket) -> str:
    """Where a socket is reached from this host."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - told, not bound
    return f"http://{shown}:{port}"


def run_server(listener: socket.socket, workers: int, ready: Ready, app: str = APP) -> None:
    """Serve until SIGINT or SIGTERM, then let turns end. `app` names a function that makes the application.

    Raises:
        ServingFailed: a worker could not start.
    """
    signal.signal(signal.SIGTERM, _leave)  # until the server has handlers of its own
    try:
        if workers == 1:
            make_server(app, ready).run([listener])
        else:
            with _shared_metrics():
                Workers(app, listener, workers).run(ready)
    except KeyboardInterrupt:
        pass
    finally:
        listener.close()


@contextmanager
def _shared_metrics() -> Generator[None]:
    """A folder in which the workers count together."""
    with tempfile.TemporaryDirectory(prefix="tertulia-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        yield


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _cannot_listen(error: OSError, host: str, port: int) -> ServingFailed:
    if error.errno == errno.EADDRINUSE:
        return ServingFailed(f"Port {port} is in use: choose another one with --port (with make: PORT=...).")
    if error.errno == errno.EACCES:
        return ServingFailed(f"Port {port} is not for you: choose one above 1023 with --port.")
    return ServingFailed(f"Cannot listen on {host}: {error.strerror or error}.", misused=True)
