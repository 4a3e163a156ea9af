"""Workers are killed and frozen at random moments under load, on SQLite and on two hosts of one PostgreSQL.

The others answer at once. What was acknowledged is there whole and once; nothing is half there; nobody is locked out.
"""

import os
import random
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from math import ceil
from pathlib import Path

import httpx2
import psutil
import pytest

from durability import crashing
from durability.lives import LEASE_S, PATIENCE_S, Answer, Installation, Request, User, check_whole, forks
from durability.test_crash import SEED
from support.commands import TERTULIA, workers_of
from support.server import settings_of
from tertulia.storage.tables import interactions

pytestmark = [pytest.mark.both_databases, pytest.mark.heavy]

MOMENTS = ceil(int(os.environ.get("DURABILITY_MOMENTS", "40")) / 8)
"""Moments at which a worker is killed or frozen; a few suffice for each change."""

ANSWER_S = 5.0
"""The longest time that nobody answers after a kill."""

FROZEN_S = LEASE_S + 1.0
FREEZES = 0.3
"""The part of the moments at which a worker is frozen for longer than its lease, and not killed."""

CLIENTS = 6
THINKING_S = 0.4
"""The longest time that a client thinks between turns, so that starts, and not turns, have the processor."""

TURNS_BETWEEN = 8
MOMENT_S = 0.03
START_S = 90.0
"""The longest time of a start on a busy machine."""


class Hosts(Installation):
    """An installation that several processes serve: the workers of one host, or hosts with a process each."""

    def __init__(self, folder: Path, database_url: str, *, hosts: int, workers: int) -> None:
        self._ports = [_free_port() for _ in range(hosts)]
        super().__init__(settings_of(data=folder, database={"url": database_url, "pool_size": 4}))
        self.environment["TERTULIA_LOG_LEVEL"] = "warning"
        self._log_file = folder / "log"
        self._workers = workers
        self._hosts = [self._serve(port) for port in self._ports]
        self.kills = 0

    @property
    def url(self) -> str:
        """The address of one of the hosts, as a load balancer chooses it."""
        return f"http://127.0.0.1:{random.choice(self._ports)}"

    @url.setter
    def url(self, _url: str) -> None:
        """Nobody chooses it."""

    def _serve(self, port: int) -> psutil.Process:
        """Start a host. One that serves alone is a fork with everything imported: hosts are started again and again."""
        data = self.settings.data
        if self._workers == 1:
            forked = forks.Process(target=crashing.live_as_host, args=(self.environment, data, port), daemon=True)
            forked.start()
            assert forked.pid is not None
            return psutil.Process(forked.pid)
        command = [str(TERTULIA), "serve", "--data", str(data), "--workers", str(self._workers), "--port", str(port)]
        with self._log_file.open("ab") as log:
            made = subprocess.Popen(command, env={**os.environ, **self.environment}, stdout=log, stderr=log)
        return psutil.Process(made.pid)

    def victims(self) -> list[psutil.Process]:
        """The processes that serve, once all of them do."""
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            found = self._serving()
            if len(found) == len(self._hosts) * self._workers:
                return found
            time.sleep(0.05)
        raise AssertionError(f"only {len(self._serving())} processes serve")

    def _serving(self) -> list[psutil.Process]:
        if self._workers == 1:
            return [host for host in self._hosts if self._is_up(host)]
        return [each for host in self._hosts for each in workers_of(host) if self._is_up(each)]

    def _is_up(self, process: psutil.Process) -> bool:
        """True once the process listens to other workers, which it does last."""
        try:
            listening = {
                each.laddr.port for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN
            }
        except psutil.Error:
            return False
        return bool(listening - set(self._ports))

    def strike(self, victim: psutil.Process) -> None:
        """Kill a process; one that no parent replaces is started again, as a service manager would."""
        victim.kill()
        self.kills += 1
        if victim in self._hosts:
            victim.wait(PATIENCE_S)
            at = self._hosts.index(victim)
            self._hosts[at] = self._serve(self._ports[at])

    def deaths(self) -> int:
        """Count the processes that died. Returns what the log of their parent says; without one, the kills."""
        return self.kills if self._workers == 1 else self._log_file.read_text().count("worker died")

    def silence_s(self) -> float:
        """Wait until somebody answers. Returns how long that took, in seconds."""
        begun = time.monotonic()
        while time.monotonic() - begun < PATIENCE_S:
            for port in self._ports:
                with suppress(httpx2.TransportError):
                    answer = httpx2.get(f"http://127.0.0.1:{port}/healthz", timeout=1.0, trust_env=False)
                    if answer.status_code == 200:
                        return time.monotonic() - begun
        raise AssertionError("nobody answers")

    def close(self) -> None:
        for host in self._hosts:
            host.send_signal(signal.SIGTERM)
        for host in self._hosts:
            host.wait(PATIENCE_S)
        self.engine.dispose()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def hosts(new_database: Callable[[], str], database_kind: str, tmp_path: Path) -> Iterator[Hosts]:
    shape = {"hosts": 1, "workers": 2} if database_kind == "sqlite" else {"hosts": 2, "workers": 1}
    made = Hosts(tmp_path, new_database(), **shape)
    made.victims()
    yield made
    made.close()


class Client:
    """Creates, goes on and finishes, and sends again with its key what is not done, at whichever host."""

    def __init__(self, user: User) -> None:
        self._user = user
        self._last: Answer | None = None
        self.done: list[Answer] = []

    def live(self, stop: threading.Event, settled: threading.Semaphore) -> None:
        while not stop.is_set():
            if self._last is not None and len(self.done) % 4 == 0:
                self._finish(self._last)
                self._last = None
            self._last = self._insist(Request(self._last and self._last.conversation_id, "Hello"))
            self.done.append(self._last)
            settled.release()
            time.sleep(random.uniform(0, THINKING_S))

    def _insist(self, request: Request) -> Answer:
        until = time.monotonic() + START_S
        while time.monotonic() < until:
            answer = self._user.send(request)
            if answer.is_acknowledged:
                return answer
            if answer.whole and not answer.lines:
                assert answer.status in {409, 503}, (answer.status, answer.body)
            time.sleep(0.02)
        raise AssertionError("locked out")

    def _finish(self, last: Answer) -> None:
        until = time.monotonic() + START_S
        while self._user.finish(last.conversation_id) not in {204, 409}:  # 409: its answer was lost
            assert time.monotonic() < until, "locked out"
            time.sleep(0.02)

    def check(self) -> None:
        with self._user.connected():
            for answer in self.done:
                check_whole(self._user, answer)


def test_nothing_acknowledged_is_lost_and_somebody_always_answers(hosts: Hosts) -> None:
    print(f"DURABILITY_SEED={SEED}")
    chance = random.Random(SEED)
    clients = [Client(hosts.user()) for _ in range(CLIENTS)]
    settled, stop = threading.Semaphore(0), threading.Event()
    problems: list[BaseException] = []
    threads = [threading.Thread(target=_watched, args=(client, stop, settled, problems)) for client in clients]
    for thread in threads:
        thread.start()
    try:
        silences = [_strike(hosts, chance, settled) for _ in _counted(MOMENTS)]
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert problems == []
    hosts.victims()
    done = sum(len(client.done) for client in clients)
    kept, faults, longest_s = hosts.count(interactions), hosts.faults(), max(silences)
    print(
        f"{hosts.kills} kills and {MOMENTS - hosts.kills} freezes; {done} turns acknowledged, {kept} kept, "
        f"{len(faults)} kinds of halves; the longest silence: {longest_s:.2f} s",
        flush=True,
    )
    with ThreadPoolExecutor(len(clients)) as pool:
        for checked in [pool.submit(client.check) for client in clients]:
            checked.result()
    print(f"0 of {done} acknowledged turns lost or changed", flush=True)
    assert faults == []
    assert kept == done, "a key was carried out twice"
    assert hosts.deaths() == hosts.kills, "a process ended by itself"
    assert longest_s < ANSWER_S


def _counted(moments: int) -> Iterator[int]:
    """Count the moments, and tell every hundredth. Yield their numbers."""
    for number in range(moments):
        if number % 100 == 99:
            print(f"moment {number + 1} of {moments}", flush=True)
        yield number


def _watched(
    client: Client, stop: threading.Event, settled: threading.Semaphore, problems: list[BaseException]
) -> None:
    try:
        client.live(stop, settled)
    except BaseException as problem:  # noqa: BLE001 - shown where the test can see it
        problems.append(problem)


def _strike(hosts: Hosts, chance: random.Random, settled: threading.Semaphore) -> float:
    """Kill or freeze a process a moment after some turns. Return for how long nobody answered."""
    victim = chance.choice(hosts.victims())
    for _ in range(chance.randrange(1, TURNS_BETWEEN)):
        assert settled.acquire(timeout=START_S), "no turn is settled any more"
    time.sleep(chance.uniform(0, MOMENT_S))
    if chance.random() >= FREEZES:
        hosts.strike(victim)
        silence_s = hosts.silence_s()
        victim.wait(PATIENCE_S)  # one that is still dying would be the next victim
        return silence_s
    victim.suspend()
    try:
        silence_s = hosts.silence_s()
        time.sleep(FROZEN_S)
    finally:
        victim.resume()
    return silence_s
