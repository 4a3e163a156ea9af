"""Several processes that serve on one socket, and the one that starts them and passes on what it is told.

uvicorn's own supervisor has no place for another server, and does not listen while it waits for its workers to end.

Workers are forks of a process that has imported the application and does nothing else (`tertulia.serving.nursery`): a
worker begins in a tenth of the time that imports take, and shares what was imported with the others.
"""

import math
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from types import FrameType

import structlog
from prometheus_client import multiprocess

from tertulia.serving import memory, metrics
from tertulia.serving.failure import ServingFailed
from tertulia.serving.server import STOPS, Server, make_server

START_S = 120.0
"""The longest time from a worker's beginning until it answers; then it is killed, and another one started."""

FAILED_STARTS = 3
"""Starts that fail one after the other, while no worker answers, after which the server gives up."""

LONGEST_PAUSE_S = 5.0
"""The longest pause before a start after others that failed."""

_WHOLE = "tertulia.api.whole"
_NURSERY = "tertulia.serving.nursery"
_forks = multiprocessing.get_context("forkserver")
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Worker:
    process: ForkServerProcess
    news: Connection
    """Becomes readable once the worker answers."""
    late_at: float
    is_ready: bool = False
    was_late: bool = False

    @property
    def failed(self) -> bool:
        """True if the worker ended by itself before it answered. A kill says nothing about the next start."""
        return not self.is_ready and (self.was_late or self.process.exitcode not in _KILLED)


_KILLED = frozenset({-signal.SIGKILL, -signal.SIGTERM})
_UNKNOWN = 255
"""The status of a worker that nobody reports: the process that forked it was killed, and it may still serve."""


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """A group of workers as each member knows the others: by the ends of two pipes that carry no data."""

    running: Connection
    """Of the first pipe, the end that each worker holds while it has turns, and the parent until it is told to stop."""
    idle: Connection
    stopping: Connection
    """Of the second pipe, whose other end the parent alone holds until it is told to stop."""

    def tell(self) -> None:
        """Tell the others that nothing runs here any more."""
        self.running.close()

    def is_idle(self) -> bool:
        """Return True if nothing runs anywhere, or if this worker alone was told to stop."""
        return self.idle.poll() or not self.stopping.poll()


class Workers:
    """Processes that serve. One that dies is replaced while the others go on; all end if none can ever start."""

    def __init__(self, app: str, listener: socket.socket, count: int, start_s: float = START_S) -> None:
        self._app = app
        self._listener = listener
        self._count = count
        self._start_s = start_s
        idle, running = connection.Pipe(duplex=False)
        stopping, self._serving = connection.Pipe(duplex=False)
        self._group = WorkerGroup(running, idle, stopping)
        self._running: list[_Worker] = []
        self._due: list[float] = []
        """The times at which workers are to be started."""
        self._told = 0
        self._failed_starts = 0
        self._failed = False

    def run(self, ready: Callable[[], None]) -> None:
        """Serve until told to stop; `ready` is called once all workers answer.

        Raises:
            ServingFailed: no worker could start.
        """
        for number in STOPS:
            signal.signal(number, self._pass_on)
        self._due = [time.monotonic()] * self._count
        _forks.set_forkserver_preload([self._app.partition(":")[0], _WHOLE, _NURSERY])
        memory.settle()
        said = False
        while self._running or (self._due and not self._told and not self._failed):
            self._start_due()
            self._wait()
            self._kill_late()
            if not said and sum(worker.is_ready for worker in self._running) == self._count:
                said = True
                ready()
        if self._failed:
            raise ServingFailed("No worker can start: the log says why.")

    def _start_due(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0] <= now:
            self._due.pop(0)
            self._start()

    def _start(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)  # a worker that is being started would not be told
        try:
            if not self._told and not self._failed:
                self._running.append(self._make())
        except (OSError, EOFError) as error:  # the process that forks is going, or cannot begin
            _log.warning("worker cannot be started", reason=str(error) or type(error).__name__)
            self._failed_starts += 1
            pause_s = self._pause()
            self._due = [max(due, time.monotonic() + pause_s) for due in self._due]  # one failure, not one for each
            self._start_again(pause_s)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)

    def _make(self) -> _Worker:
        news, teller = connection.Pipe(duplex=False)
        process = _forks.Process(target=work, args=(self._app, self._listener, teller, self._group), name="worker")
        try:
            process.start()
        except BaseException:
            news.close()
            raise
        finally:
            teller.close()
        _log.info("worker started", worker=process.pid)
        return _Worker(process, news, time.monotonic() + self._start_s)

    def _wait(self) -> None:
        """Wait until a worker answers or ends, or until something is due."""
        starting = [worker for worker in self._running if not worker.is_ready]
        until = min([*self._due[:1], *(worker.late_at for worker in starting)], default=math.inf)
        watched = [worker.process.sentinel for worker in self._running] + [worker.news for worker in starting]
        timeout = None if until == math.inf else max(0.0, until - time.monotonic())
        happened = connection.wait(watched, timeout)
        for worker in starting:
            if worker.news in happened:
                self._hear(worker)
        for worker in list(self._running):
            if worker.process.sentinel in happened:
                self._bury(worker)

    def _hear(self, worker: _Worker) -> None:
        try:
            worker.is_ready = bool(worker.news.recv())
        except EOFError:  # it ends, as its sentinel says
            worker.late_at = math.inf
            worker.process.join(1)
            return
        self._failed_starts = 0
        _log.info("worker ready", worker=worker.process.pid)

    def _bury(self, worker: _Worker) -> None:
        """Note how a worker ended, and have another one started unless all are to end."""
        worker.process.join()
        if worker.process.exitcode == _UNKNOWN:
            self._kill(worker)
        worker.news.close()
        self._running.remove(worker)
        multiprocess.mark_process_dead(worker.process.pid)  # pyright: ignore[reportUnknownMemberType] - it has no types
        pid, status = worker.process.pid, worker.process.exitcode
        if self._told or self._failed:
            _log.info("worker ended", worker=pid, status=status)
            return
        _log.warning("worker died, another one starts", worker=pid, status=status, answered=worker.is_ready)
        self._failed_starts += worker.failed
        self._start_again(0.0 if worker.is_ready else self._pause())

    def _pause(self) -> float:
        """Return the pause before a start after others that failed, in seconds."""
        return min(LONGEST_PAUSE_S, 0.1 * 2 ** min(self._failed_starts, 10))

    def _start_again(self, pause_s: float) -> None:
        """Have another worker started after a pause, unless starts fail while no worker answers: then all end."""
        if self._failed_starts >= FAILED_STARTS and not any(other.is_ready for other in self._running):
            self._failed = True
            self._stop()
            return
        self._due = sorted([*self._due, time.monotonic() + pause_s])

    @staticmethod
    def _kill(worker: _Worker) -> None:
        if worker.process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(worker.process.pid, signal.SIGKILL)

    def _kill_late(self) -> None:
        for worker in self._running:
            if not worker.is_ready and not worker.was_late and time.monotonic() >= worker.late_at:
                _log.error("worker does not start in time", worker=worker.process.pid, seconds=self._start_s)
                worker.was_late = True
                worker.late_at = math.inf
                worker.process.kill()

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        self._told += 1
        if self._told == 1:
            _log.info("server stops", signal=signal.Signals(number).name)
        self._stop()

    def _stop(self) -> None:
        self._serving.close()
        self._group.tell()
        for worker in self._running:
            worker.process.terminate()


def work(app: str, listener: socket.socket, teller: Connection, group: WorkerGroup) -> None:
    """Serve as a worker. SIGINT, which a terminal sends to all, is ignored: the parent passes it on as SIGTERM."""
    memory.start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    held = metrics.hold(os.environ[metrics.VARIABLE])
    lifeline = _Lifeline()
    server = make_server(app, lambda: teller.send(True))
    server.deaf_to = signal.SIGINT
    server.group = group
    lifeline.server = server
    server.run([listener])
    if server.orphaned:
        os.close(held)
        metrics.remove_abandoned()


class _Lifeline:
    """Watches over a worker's parent. If that was killed, the worker gives up the port at once, and its turns end."""

    def __init__(self) -> None:
        self.server: Server | None = None
        parent = multiprocessing.parent_process()
        if parent is not None:
            threading.Thread(target=self._watch, args=(parent.join,), name="parent", daemon=True).start()

    def _watch(self, wait: Callable[[], None]) -> None:
        wait()
        if self.server is None or not self.server.started:
            os._exit(1)  # there is nothing to end well, and the port is held
        self.server.orphaned = True
        os.kill(os.getpid(), signal.SIGTERM)
