"""A server that kills itself where it is told to: what `tertulia serve` does, with a fault hook around a turn.

It runs in a process that is forked from one with everything imported, so that it starts quickly. Nothing of the product
knows of it: the hook replaces methods of the classes in this process.
"""

import os
import signal
import sys
import threading
import types
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from datetime import timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tertulia.background import retention
from tertulia.cli import installation, main
from tertulia.cli.options import load_settings
from tertulia.engine.turns.conversations import Conversations
from tertulia.engine.turns.runner import Runner
from tertulia.serving import serve
from tertulia.storage import retention as stored_retention
from tertulia.storage import tool
from tertulia.storage.database import lane
from tertulia.storage.database import units as database

Point = tuple[str, int]
"""A place, and the how-manieth time that it is reached."""

PLACES = (
    "request suspends",
    "request resumes",
    "turn suspends",
    "turn resumes",
    "claim begins",
    "claim is done",
    "claim is committed",
    "settle begins",
    "settle is done",
    "settle is committed",
)
"""`done`: the unit has run, its transaction is open, or is being committed. `committed`: the event loop knows it."""

_UNITS = {"redeem": "claim", "settle_turn": "settle"}
_LANES = {"postgres-lazy": "claim", "postgres-durable": "settle"}
"""Threads that run shortcuts, a batch at a time."""


class Faults:
    """Dies at a point, once it is armed."""

    def __init__(self) -> None:
        self._point: Point | None = None
        self._reached: Counter[str] = Counter()

    def arm(self, point: Point | None) -> None:
        self._reached.clear()
        self._point = point

    def reach(self, place: str) -> None:
        if self._point is None:
            return
        self._reached[place] += 1
        if (place, self._reached[place]) == self._point:
            os.kill(os.getpid(), signal.SIGKILL)

    async def watch(self, name: str, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine; each time that it waits is a place, and each time that it goes on."""
        return await self._watched(name, work)

    @types.coroutine
    def _watched(self, name: str, work: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        step = partial(work.send, None)
        while True:
            try:
                waits_for = step()
            except StopIteration as end:
                return end.value
            self.reach(f"{name} suspends")
            try:
                value = yield waits_for
                step = partial(work.send, value)
            except BaseException as error:  # noqa: BLE001 - it is the coroutine's, a cancellation say
                step = partial(work.throw, error)
            self.reach(f"{name} resumes")

    def install(self) -> None:
        for kind, method, name in (
            (Conversations, "start", "request"),
            (Conversations, "interact", "request"),
            (Runner, "_run", "turn"),
        ):
            setattr(kind, method, self._watching(name, getattr(kind, method)))
        for kind in (database.SqliteDatabase, database.PostgresDatabase):
            for method in ("write", "write_lazily"):
                setattr(kind, method, self._writing(getattr(kind, method)))
        for method, name in (("do_lazily", "claim"), ("do", "settle")):
            setattr(database.PostgresDatabase, method, self._doing(name, getattr(database.PostgresDatabase, method)))
        lane._is_committed = self._committing(lane._is_committed)

    def _doing(self, name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        async def doing(*args: Any) -> Any:
            self.reach(f"{name} begins")
            result = await do(*args)
            self.reach(f"{name} is committed")
            return result

        return doing

    def _committing(self, commit: Callable[..., bool]) -> Callable[..., bool]:
        def committing(*args: Any) -> bool:
            self.reach(f"{_LANES[threading.current_thread().name]} is done")
            return commit(*args)

        return committing

    def _watching(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        async def watched(*args: Any, **kwargs: Any) -> Any:
            return await self.watch(name, method(*args, **kwargs))

        return watched

    def _writing(self, write: Callable[..., Any]) -> Callable[..., Any]:
        async def writing(this: Any, unit: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            name = _UNITS.get(unit.__name__)
            if name is None:
                return await write(this, unit, *args, **kwargs)

            def faulty(connection: Any, *args: Any, **kwargs: Any) -> Any:
                result = unit(connection, *args, **kwargs)
                self.reach(f"{name} is done")
                return result

            self.reach(f"{name} begins")
            result = await write(this, faulty, *args, **kwargs)
            self.reach(f"{name} is committed")
            return result

        return writing


def live(environment: dict[str, str], control: Connection) -> None:
    """Serve; say the address, then arm whatever comes through the pipe."""
    os.environ.update(environment)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process lives
    faults = Faults()
    faults.install()
    tool.BUSY = timedelta(seconds=2)  # leases of turns are as short here
    retention.LOOK_S, stored_retention.CONVERSATIONS = 0.2, 1  # often, and in many transactions
    settings = load_settings(None)
    listener = serve.listen("127.0.0.1", 0)
    installation.migrate(settings)
    threading.Thread(target=_obey, args=(control, faults), daemon=True).start()
    serve.run_server(listener, 1, lambda: control.send(serve.address(listener)))


def live_as_host(environment: dict[str, str], data: Path, port: int) -> None:
    """Do what `tertulia serve` does in a process of its own, with nothing replaced."""
    os.environ.update(environment)
    log = os.open(data / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(log, stream)
    main.serve_(data, None, port, 1)


def _obey(control: Connection, faults: Faults) -> None:
    while True:
        try:
            faults.arm(control.recv())
        except EOFError:
            return
        control.send("armed")
