"""Deaths of workers, before and after they answer, and the death of their parent."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest

from support.commands import PATIENCE_S, Command, Start, workers_of
from support.server import NO_CERTIFICATES
from support.supervised import VARIABLE

TESTS = Path(__file__).parents[1]


@dataclass
class Supervised:
    """A parent and its workers, in a folder that says which starts go wrong."""

    folder: Path
    temporary: Path
    process: "subprocess.Popen[str]"
    url: str

    def workers(self) -> set[int]:
        return {worker.pid for worker in workers_of(psutil.Process(self.process.pid))}

    def answering(self) -> int | None:
        """The worker that answers a new connection; None if none does."""
        with suppress(httpx2.HTTPError):
            return int(httpx2.get(self.url, timeout=2, trust_env=False, verify=NO_CERTIFICATES).text)
        return None

    def ready(self) -> int:
        """Count the workers that have become ready so far."""
        return sum(line["event"] == "worker ready" for line in self.log())

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines() if line.startswith("{")]


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + 2 * PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


Supervise = Callable[..., Supervised]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    """Starts a parent with workers; keywords are how many starts go wrong, and how."""
    running: list[Supervised] = []
    temporary = Path(tempfile.mkdtemp())  # `tmp_path` is too long for the name of a socket

    def make(workers: int, start_s: float = 600, temporary: Path = temporary, **wrong: int) -> Supervised:
        for what, times in wrong.items():
            for number in range(times):
                (tmp_path / f"{what}-{number}").touch()
        with (tmp_path / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "support.supervised", str(tmp_path), str(workers), str(start_s)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, VARIABLE: str(tmp_path), "PYTHONPATH": str(TESTS), "TMPDIR": str(temporary)},
            )
        assert process.stdout is not None
        running.append(Supervised(tmp_path, temporary, process, process.stdout.readline().strip()))
        return running[-1]

    yield make
    for each in running:
        with suppress(psutil.Error):
            for child in psutil.Process(each.process.pid).children(recursive=True):
                child.kill()
        each.process.kill()
        each.process.wait()
        assert each.process.stdout is not None
        each.process.stdout.close()
    shutil.rmtree(temporary)


def test_a_worker_that_is_killed_before_it_answers_ends_nobody(supervise: Supervise) -> None:
    served = supervise(2, hang=1)
    until(lambda: list(served.folder.glob("hung-*")))
    (hung,) = served.folder.glob("hung-*")
    until(served.answering)
    healthy = served.answering()
    os.kill(int(hung.name.removeprefix("hung-")), signal.SIGKILL)
    until(lambda: served.ready() == 2)
    assert healthy in served.workers()
    assert served.process.poll() is None


def test_start_death_replacement_and_end_of_workers_are_lines_of_the_log(supervise: Supervise) -> None:
    served = supervise(2)
    until(lambda: served.ready() == 2)
    victim = served.workers().pop()
    os.kill(victim, signal.SIGKILL)
    until(lambda: served.ready() == 3)
    left = served.workers()
    served.process.terminate()
    served.process.wait(2 * PATIENCE_S)

    def told(event: str, *names: str) -> list[tuple[Any, ...]]:
        lines = [line for line in served.log() if line["event"] == event and set(names) <= set(line)]
        return [tuple(line[name] for name in names) for line in lines]

    died = "worker died, another one starts"
    assert told(died, "level", "worker", "status", "answered") == [("warning", victim, -signal.SIGKILL, True)]
    assert {worker for (worker,) in told("worker started", "worker")} == left | {victim}
    assert {worker for (worker,) in told("worker ready", "worker")} == left | {victim}
    assert told("server stops", "signal")[0] == ("SIGTERM",)
    assert sorted(told("worker ended", "worker", "status")) == sorted((worker, 0) for worker in left)


def test_others_are_replaced_while_a_replacement_hangs_and_that_one_has_a_limit(supervise: Supervise) -> None:
    served = supervise(3, start_s=12)
    until(lambda: served.ready() == 3)
    first = served.workers()
    (served.folder / "hang-0").touch()
    for pid in first:
        os.kill(pid, signal.SIGKILL)
    until(lambda: list(served.folder.glob("hung-*")))
    until(lambda: served.ready() == 5)
    assert served.answering() not in {None, *first}
    until(lambda: [line for line in served.log() if line["event"] == "worker does not start in time"])
    until(lambda: served.ready() == 6)


def test_a_start_that_fails_is_tried_again_and_healthy_workers_stay(supervise: Supervise) -> None:
    served = supervise(2)
    until(lambda: served.ready() == 2)
    stays, goes = served.workers()
    for number in range(5):
        (served.folder / f"fail-{number}").touch()
    os.kill(goes, signal.SIGKILL)
    until(lambda: served.ready() == 3)
    assert stays in served.workers()
    assert not list(served.folder.glob("fail-*"))


def test_workers_are_replaced_if_the_process_that_forks_them_is_killed(supervise: Supervise) -> None:
    served = supervise(2)
    until(lambda: served.ready() == 2)
    first = served.workers()
    (nursery,) = {psutil.Process(pid).ppid() for pid in first}
    os.kill(nursery, signal.SIGKILL)
    until(lambda: served.ready() == 4)
    assert served.answering() not in {None, *first}
    assert not [pid for pid in first if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]


def test_the_process_that_forks_workers_may_be_killed_again_while_it_begins(supervise: Supervise) -> None:
    served = supervise(4)
    until(lambda: served.ready() == 4)
    killed: set[int] = set()

    def kill_another() -> bool:
        begun: set[int] = set()
        for child in psutil.Process(served.process.pid).children():
            with suppress(psutil.Error):  # it has ended meanwhile
                if "forkserver" in " ".join(child.cmdline()) and child.pid not in killed:
                    begun.add(child.pid)
        for pid in begun:
            os.kill(pid, signal.SIGKILL)
        killed.update(begun)
        return bool(begun)

    until(kill_another)
    until(kill_another)
    until(lambda: served.ready() == 8)
    assert served.process.poll() is None


def test_the_parent_ends_if_no_worker_can_be_forked(supervise: Supervise, tmp_path: Path) -> None:
    (tmp_path / ("long" * 30)).mkdir()
    served = supervise(2, temporary=tmp_path / ("long" * 30))
    assert served.process.wait(PATIENCE_S) == 1
    assert "path too long" in (tmp_path / "log").read_text()


def test_the_parent_ends_if_no_worker_can_start(supervise: Supervise, tmp_path: Path) -> None:
    (tmp_path / "broken").touch()
    served = supervise(2)
    assert served.process.wait(PATIENCE_S) == 1
    assert "No worker can start" in (tmp_path / "log").read_text()


def test_the_folders_of_metrics_of_the_dead_go_and_those_of_the_living_stay(supervise: Supervise) -> None:
    def folders() -> set[Path]:
        return set(served.temporary.glob("tertulia-metrics-*"))

    served = supervise(1)
    until(served.answering)
    (abandoned,) = folders()
    workers = [psutil.Process(pid) for pid in served.workers()]
    served.process.kill()
    served.process.wait()
    psutil.wait_procs(workers, timeout=PATIENCE_S)
    abandoned.mkdir(exist_ok=True)  # as if no worker had been there to clear up
    (abandoned / ".lock").touch()
    second = supervise(1)
    until(second.answering)
    (living,) = folders()
    assert living != abandoned
    supervise(1)
    until(lambda: len(folders()) == 2)
    assert living in folders()


def test_a_new_server_takes_the_port_while_a_turn_of_a_killed_one_goes_on(
    start: Start, data: Path, made: dict[str, str], command: Command
) -> None:
    slow = {"TERTULIA_SCRIPTED_DELAY_MS": "60000", "TERTULIA_TURN_GRACE_S": "600", "TERTULIA_TURN_STALL_S": "3000"}
    token = command("token", "--data", data).stdout.strip()
    server = start("serve", "--data", data, "--port", "0", "--workers", "2", **slow)
    workers = server.workers()
    client = httpx2.Client(
        base_url=f"{server.url}/v1/demo/conversation",
        headers={"Authorization": f"Bearer {token}"},
        timeout=2 * PATIENCE_S,
        trust_env=False,
    )
    creation = client.stream("POST", "/", params={"response_format": "text"}, json={"service_id": made["service_id"]})
    with client, creation as answer:
        lines = answer.iter_lines()
        next(lines)
        server.stop(signal.SIGKILL)
        again = start("serve", "--data", data, "--port", server.url.rsplit(":", 1)[1])
        assert again.url == server.url
        assert httpx2.get(f"{again.url}/readyz", trust_env=False, verify=NO_CERTIFICATES).status_code == 200
        turn = (answer.headers[f"X-Tertulia-{what}-Id"] for what in ("Conversation", "Interaction"))
        assert client.post("/{}/interaction/{}/cancel".format(*turn)).status_code == 204  # where it still runs
        assert json.loads(list(lines)[-1])["type"] == "error"
    assert psutil.wait_procs(workers, timeout=PATIENCE_S)[1] == []
