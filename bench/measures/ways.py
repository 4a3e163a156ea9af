"""The cost of a create on the ways that users really take, beside the one that is easiest."""

import statistics
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from bench import clients, servers, wire, workload
from bench.clients import Times
from bench.figures import BARE, PRODUCT, Bound, Figure, Section, percentile
from bench.http import Create, request_of
from bench.servers import Server
from bench.setting import MOST_CREATES_A_SECOND, Setting
from support import postgres

EASY = "on SQLite, scripted"
POSTGRES = "on PostgreSQL"
REMOTE = "with a model over HTTP"
DEAREST: Mapping[str, float] = {POSTGRES: 1.0, REMOTE: 1.3}
"""The most CPU of a create, in that of one on SQLite with the scripted model."""
LATEST = 1.2
"""The most time of one client's create on PostgreSQL, in that on SQLite."""
MOST_ROUND_TRIPS = 2.0
SMALLEST_SHARE = 0.20
"""Creates in a CPU second on PostgreSQL, of the bare application's."""
ROUNDS = 7
CONNECTIONS = (1, 4, 16)
WARM_UP_S = 1
ROUND_S = 2
_ALONE = 200
"""Creates of one client, whose times and round trips are measured."""
_HELLO = "Hello, how are you today?"

_TEXT = (
    f"Servers that differ in one thing are loaded by turns, in {ROUNDS} rounds: by 16 connections that are kept, and "
    "the easy one by fewer too. What counts is the CPU of Tertulia's process; that of PostgreSQL has a line of its "
    "own, and that of the model's server, which answers in no time, is not in it. The spread is that of the rounds. "
    f"Round trips are those of {_ALONE} creates of one client, counted on the wire."
)


@dataclass(frozen=True, slots=True)
class _Way:
    """A server, the users who come to it, and what their creates have cost and taken."""

    server: Server
    setting: Setting
    is_bare: bool = False
    costs: dict[int, list[float]] = field(default_factory=dict[int, list[float]])
    """CPU of a create in microseconds, by the number of connections."""
    database: list[float] = field(default_factory=list[float])
    """The same of PostgreSQL's processes, whoever asked them."""
    times: list[Times] = field(default_factory=list[Times])

    def load(self, connections: int, seconds: int = ROUND_S) -> None:
        """Load the server, and note what a create cost."""
        creates = self._creates(1000 if self.is_bare else MOST_CREATES_A_SECOND * seconds)
        before, before_database = self.server.cpu_s(), _postgres_s()
        made = self.setting.load(self.server.url, creates, seconds, connections).creates
        self.costs.setdefault(connections, []).append(1e6 * (self.server.cpu_s() - before) / made)
        self.database.append(1e6 * (_postgres_s() - before_database) / made)

    def create(self, count: int) -> None:
        """Make creates one after the other, and note when things of their answers came."""
        path = self.setting.workload.path
        requests = [request_of(path, create) for create in self._creates(count)]
        self.times.extend(clients.create_in_turn(self.server.url, requests))

    def _creates(self, count: int) -> list[Create]:
        if self.is_bare:
            return [Create("x" * 200, "0" * 24, _HELLO)] * count
        return [create._replace(message=_HELLO) for create in self.setting.workload.take(count)]

    def clear(self) -> None:
        """Forget what was noted while the server warmed up."""
        for noted in (self.costs, self.database, self.times):
            noted.clear()


def _postgres_s() -> float:
    """CPU seconds of PostgreSQL's processes so far, those that have ended too."""
    spent = 0.0
    for process in psutil.process_iter(["name", "cpu_times"]):
        if process.info["name"] == "postgres" and process.info["cpu_times"] is not None:
            times = process.info["cpu_times"]
            spent += times.user + times.system + times.children_user + times.children_system
    return spent


def measure(setting: Setting) -> Section:
    """Load the ways by turns. Return what a create costs on each."""
    with _ways(setting) as (ways, trips):
        for way in ways.values():
            way.load(CONNECTIONS[-1], WARM_UP_S)
            way.clear()
        for _ in range(ROUNDS):
            for name, way in ways.items():
                for connections in CONNECTIONS if name == EASY else CONNECTIONS[-1:]:
                    way.load(connections)
                way.create(_ALONE // ROUNDS)
        round_trips = trips()
    return Section("Ways to a first turn", _figures(ways, round_trips), _TEXT)


@contextmanager
def _ways(setting: Setting) -> Generator[tuple[dict[str, _Way], Callable[[], float]]]:
    core = setting.cores.server
    with ExitStack() as stack:
        fake = stack.enter_context(servers.fake_model(setting.folder, setting.cores.load))
        database = stack.enter_context(postgres.running("127.0.0.1", str(setting.folder.parent), durable=True))
        folder, url = setting.folder / "ways", database.create()
        folder.mkdir()
        own = replace(setting, workload=workload.prepare(folder, url))
        remote = {"MODEL": "openai:x", "OPENAI_BASE_URL": f"{fake.url}/v1", "OPENAI_API_KEY": "secret"}
        ways = {
            EASY: _Way(stack.enter_context(servers.tertulia(setting.folder, core)), setting),
            POSTGRES: _Way(stack.enter_context(servers.tertulia(folder, core, {"DATABASE_URL": url})), own),
            REMOTE: _Way(stack.enter_context(servers.tertulia(setting.folder, core, remote)), setting),
            BARE: _Way(stack.enter_context(servers.bare(setting.lines(), core)), setting, is_bare=True),
        }
        yield ways, lambda: _round_trips(own, folder, url)


def _round_trips(setting: Setting, folder: Path, url: str) -> float:
    """Round trips to PostgreSQL of a create, by one client whom the server knows."""
    with (
        wire.counting(url) as counted,
        servers.tertulia(folder, setting.cores.server, {"DATABASE_URL": counted.url}) as server,
    ):
        way = _Way(server, setting)
        way.create(_ALONE // 10)
        before = counted.round_trips
        way.create(_ALONE)
        return (counted.round_trips - before) / _ALONE


def _figures(ways: Mapping[str, _Way], round_trips: float) -> list[Figure]:
    easy, most = ways[EASY], CONNECTIONS[-1]
    figures = [
        Figure(
            f"CPU of a create {name}, {connections} connections",
            "us",
            {PRODUCT: statistics.median(costs)},
            note=f"{min(costs):.0f} to {max(costs):.0f}",
        )
        for name, way in ways.items()
        for connections, costs in way.costs.items()
    ]
    for name, dearest in DEAREST.items():
        share = statistics.median(ways[name].costs[most]) / statistics.median(easy.costs[most])
        figures.append(Figure(f"{name}, to {EASY}", "", {PRODUCT: share}, bound=Bound(share, dearest, "at most")))
    slow = ways[POSTGRES]
    share = statistics.median(ways[BARE].costs[most]) / statistics.median(slow.costs[most])
    name = f"creates in a CPU second {POSTGRES}, of the bare application's"
    return [
        *figures,
        Figure(name, "", {PRODUCT: share}, bound=Bound(share, SMALLEST_SHARE, "at least")),
        Figure("PostgreSQL's own CPU of a create", "us", {PRODUCT: statistics.median(slow.database)}),
        Figure(
            "round trips to PostgreSQL of a create",
            "",
            {PRODUCT: round_trips},
            bound=Bound(round_trips, MOST_ROUND_TRIPS, "at most"),
        ),
        *_alone("first event", [[1000 * one.first_event for one in way.times] for way in (easy, slow)]),
        *_alone("whole answer", [[1000 * one.whole for one in way.times] for way in (easy, slow)]),
    ]


def _alone(what: str, times: Sequence[Sequence[float]]) -> list[Figure]:
    """Compare the times of one client on SQLite and on PostgreSQL, in milliseconds."""
    easy, slow = (percentile(some, 50) for some in times)
    share = slow / easy
    return [
        Figure(f"{what} at one client {EASY}, p50", "ms", {PRODUCT: easy}),
        Figure(f"{what} at one client {POSTGRES}, p50", "ms", {PRODUCT: slow}),
        Figure(f"{what}, {POSTGRES} to {EASY}", "", {PRODUCT: share}, bound=Bound(share, LATEST, "at most")),
    ]
