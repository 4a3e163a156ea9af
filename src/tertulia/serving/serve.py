"""Serve the API: a server in this process, or several workers that share its socket."""

import errno
import signal
import socket
import sys
import time
from collections.abc import Callable
from types import FrameType

from tertulia.serving import metrics
from tertulia.serving.failure import ServingFailed
from tertulia.serving.server import BACKLOG, make_server
from tertulia.serving.workers import Workers
from tertulia.settings import Settings

APP = "tertulia.app:create_app"

RELEASE_S = 2.0
"""The longest time for which a port that is in use is waited for."""

Ready = Callable[[], None]
"""A function that is called once the server answers."""


def listen(host: str, port: int) -> socket.socket:
    """Listen at an address, and return the socket. A port that is in use is waited for: a killed server's workers give
    theirs up within moments.

    Raises:
        ServingFailed: the port is in use, or there is no such address.
    """
    until = time.monotonic() + RELEASE_S
    while True:
        try:
            return _listen(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= until:
                raise _cannot_listen(error, host, port) from error
            time.sleep(0.05)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def check(settings: Settings) -> None:
    """Try the addresses, before anything else takes its time.

    Raises:
        ServingFailed: one of them cannot be listened on.
    """
    listen(settings.host, settings.port).close()
    try:
        listen(settings.relay.host, 0).close()
    except ServingFailed as error:
        raise ServingFailed(f"TERTULIA_RELAY_HOST: {error}", misused=True) from error


def address(listener: socket.socket) -> str:
    """Return the URL at which a socket is reached from this host."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - told, not bound
    return f"http://{shown}:{port}"


def run_server(listener: socket.socket, workers: int, ready: Ready, app: str = APP) -> None:
    """Serve until SIGINT or SIGTERM, then let turns end. `app` names a function that makes the application.

    Raises:
        ServingFailed: no worker could start.
    """
    signal.signal(signal.SIGTERM, _leave)  # until the server has handlers of its own
    try:
        if workers == 1:
            make_server(app, ready).run([listener])
        else:
            with metrics.shared_folder():
                Workers(app, listener, workers).run(ready)
    except KeyboardInterrupt:
        pass
    finally:
        listener.close()


def _leave(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _cannot_listen(error: OSError, host: str, port: int) -> ServingFailed:
    if error.errno == errno.EADDRINUSE:
        return ServingFailed(f"Port {port} is in use: choose another one with --port (with make: PORT=...).")
    if error.errno == errno.EACCES:
        return ServingFailed(f"Port {port} is not for you: choose one above 1023 with --port.")
    return ServingFailed(f"Cannot listen on {host}: {error.strerror or error}.", misused=True)
