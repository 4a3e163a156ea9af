"""A wire between a server and its PostgreSQL that counts round trips: how often an answer is followed by a question."""

import select
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_BUFFER = 1 << 16
_LOOK_S = 0.2


@dataclass
class Wire:
    """An address that leads to a database; `round_trips` are those of all connections so far."""

    url: str
    round_trips: int = 0
    closed: threading.Event = field(default_factory=threading.Event)


@contextmanager
def counting(url: str) -> Generator[Wire]:
    """Lead to the database of a URL for as long as the block lasts."""
    parts = urlsplit(url)
    assert parts.hostname
    assert parts.port
    target = (parts.hostname, parts.port)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(_LOOK_S)
        wire = Wire(f"postgresql://{parts.username}@127.0.0.1:{listener.getsockname()[1]}{parts.path}")
        accepting = threading.Thread(target=_accept, args=(wire, listener, target), daemon=True)
        accepting.start()
        try:
            yield wire
        finally:
            wire.closed.set()
            accepting.join()


def _accept(wire: Wire, listener: socket.socket, target: tuple[str, int]) -> None:
    while not wire.closed.is_set():
        try:
            near, _ = listener.accept()
        except TimeoutError:
            continue
        threading.Thread(target=_lead, args=(wire, near, target), daemon=True).start()


def _lead(wire: Wire, near: socket.socket, target: tuple[str, int]) -> None:
    """Carry the bytes of a connection both ways. A question counts when it is the first after an answer."""
    with near, socket.create_connection(target) as far:
        other, answered = {near: far, far: near}, True
        while not wire.closed.is_set():
            for ready in select.select([near, far], [], [], _LOOK_S)[0]:
                data = ready.recv(_BUFFER)
                if not data:
                    return
                if ready is near and answered:
                    wire.round_trips += 1
                answered = ready is far
                other[ready].sendall(data)
