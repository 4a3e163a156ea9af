"""Sockets that come connected from the server: a tool may name a host and a port, and the server decides.

`socket.socket` becomes a class that asks the server when it is to connect. Look-ups answer with the name itself, since
the server resolves it. What the server refuses is a PermissionError.
"""

import errno
import json
import os
import socket
import threading
from typing import Any

_MOST_BYTES = 4096
_PORTS = {"http": 80, "https": 443}


class _Asking:
    """The line to the server."""

    def __init__(self, descriptor: int) -> None:
        self._line = socket.socket(fileno=descriptor)
        self._lock = threading.Lock()

    def connect(self, host: str, port: int) -> int:
        """Ask for a connection. Return its descriptor.

        Raises:
            PermissionError, ConnectionError: the server says no, or the host does not answer.
        """
        with self._lock:
            self._line.send(json.dumps([host, port]).encode()[:_MOST_BYTES])
            answer, descriptors, _, _ = socket.recv_fds(self._line, _MOST_BYTES, 1)
        if descriptors:
            return descriptors[0]
        kind, text = json.loads(answer or b'["ConnectionError", "The server has hung up."]')
        raise PermissionError(1, text) if kind == "PermissionError" else ConnectionError(text)


def install(descriptor: int) -> None:
    """Replace `socket.socket` and the look-ups of names."""
    _Socket.asking = _Asking(descriptor)
    socket.socket = _Socket
    socket.getaddrinfo = _look_up
    socket.gethostbyname = str


class _Socket(socket.socket):
    """A socket that the server connects. Until then a pair of its own holds its place."""

    asking: _Asking

    def __init__(self, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:  # noqa: A002 - as `socket`
        self._later: list[tuple[Any, ...]] | None = None
        if fileno is not None or family not in {-1, socket.AF_INET, socket.AF_INET6}:
            super().__init__(family, type, proto, fileno)
            return
        if type not in {-1, 0} and type & 0xF != socket.SOCK_STREAM:
            raise PermissionError(1, "A tool has TCP connections alone.")
        place, other = socket.socketpair()
        other.close()
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM, 0, place.detach())
        self._later = []

    def setsockopt(self, *arguments: Any) -> None:
        """Set an option; one of TCP waits for the connection."""
        if self._later is not None and arguments[0] != socket.SOL_SOCKET:
            self._later.append(arguments)
        else:
            super().setsockopt(*arguments)

    def connect(self, address: Any) -> None:
        """Have the server connect this socket.

        Raises:
            PermissionError, ConnectionError: the server says no, or the host does not answer.
        """
        waits = self.gettimeout()
        connected = self.asking.connect(str(address[0]), int(address[1]))
        os.dup2(connected, self.fileno(), inheritable=False)
        os.close(connected)
        self.settimeout(waits)
        later, self._later = self._later or [], None
        for arguments in later:
            super().setsockopt(*arguments)

    def connect_ex(self, address: Any) -> int:
        """Have the server connect this socket. Return the number of the error, 0 if it is connected."""
        try:
            self.connect(address)
        except OSError as error:
            return error.errno or errno.ECONNREFUSED
        return 0


def _look_up(host: Any, port: Any, *_: Any, **__: Any) -> list[Any]:
    name = host.decode() if isinstance(host, bytes) else str(host)
    number = _PORTS.get(str(port)) or int(port or 0)
    return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (name, number))]
