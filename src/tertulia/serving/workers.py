"""Several processes that serve on one socket, and the one that starts them and passes on what it is told.

uvicorn's own supervisor has no place for another server, and does not listen while it waits for its workers to end.
"""

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import FrameType

from prometheus_client import multiprocess

from tertulia.serving.failure import ServingFailed
from tertulia.serving.server import STOPS, make_server

START_S = 120

_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class _Worker:
    process: SpawnProcess
    news: Connection
    """Says something once the worker answers."""

    def wait_until_ready(self) -> bool:
        """False: it has ended, or takes too long."""
        connection.wait([self.news, self.process.sentinel], START_S)
        try:
            return self.news.poll() and bool(self.news.recv())
        except EOFError:
            return False


@dataclass(frozen=True, slots=True)
class Company:
    """What the workers know of each other, by two pipes that nobody writes to."""

    running: Connection
    """Of the first pipe, the end that each worker holds while it has turns, and the parent until it is told to stop."""
    idle: Connection
    stopping: Connection
    """Of the second pipe, whose other end the parent alone holds until it is told to stop."""

    def tell(self) -> None:
        self.running.close()

    def is_idle(self) -> bool:
        """Nobody waits for a worker that was told to stop by itself."""
        return self.idle.poll() or not self.stopping.poll()


class Workers:
    """Processes that serve. One that dies is replaced; one that cannot start ends them all."""

    def __init__(self, app: str, listener: socket.socket, count: int) -> None:
        self._app = app
        self._listener = listener
        self._count = count
        idle, running = connection.Pipe(duplex=False)
        stopping, self._serving = connection.Pipe(duplex=False)
        self._company = Company(running, idle, stopping)
        self._running: list[_Worker] = []
        self._told = False
        self._failed = False

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until told to stop.

        Raises:
            ServingFailed: a worker could not start.
        """
        for number in STOPS:
            signal.signal(number, self._pass_on)
        workers = [self._start() for _ in range(self._count)]
        if all(self._is_ready(worker) for worker in workers):
            ready()
        while self._running:
            self._replace_the_dead()
        if self._failed:
            raise ServingFailed("A worker could not start.")

    def _start(self) -> _Worker | None:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # a worker that is being started would not be told
        try:
            if self._told:
                return None
            self._running.append(self._make())
            return self._running[-1]
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)

    def _make(self) -> _Worker:
        news, teller = connection.Pipe(duplex=False)
        process = _spawn.Process(target=work, args=(self._app, self._listener, teller, self._company), name="worker")
        process.start()
        teller.close()
        return _Worker(process, news)

    def _is_ready(self, worker: _Worker | None) -> bool:
        if worker is not None and worker.wait_until_ready():
            return True
        self._failed = self._failed or not self._told
        self._stop()
        return False

    def _pass_on(self, _signal: int, _frame: FrameType | None) -> None:
        self._told = True
        self._stop()

    def _stop(self) -> None:
        self._serving.close()
        self._company.tell()
        for worker in self._running:
            worker.process.terminate()

    def _replace_the_dead(self) -> None:
        """Wait until a worker ends; start another one, unless this was told to stop."""
        ended = connection.wait([worker.process.sentinel for worker in self._running])
        for worker in [worker for worker in self._running if worker.process.sentinel in ended]:
            worker.process.join()
            self._running.remove(worker)
            multiprocess.mark_process_dead(worker.process.pid)  # pyright: ignore[reportUnknownMemberType]
            if not self._failed and not self._told:
                self._is_ready(self._start())


def work(app: str, listener: socket.socket, teller: Connection, company: Company) -> None:
    """A worker. SIGINT is not for it: a terminal sends that to all, and the parent passes it on as SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    _end_with_parent()
    server = make_server(app, lambda: teller.send(True))
    server.deaf_to = signal.SIGINT
    server.company = company
    server.run([listener])


def _end_with_parent() -> None:
    """A worker whose parent was killed would keep the port: let it stop as if it had been told to."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()
