"""The measurements. Each takes turns between the product and the bare application: both see the same machine."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop

from bench import clients
from bench.clients import Times
from bench.figures import BARE, PRODUCT, Bound, Figure
from bench.http import Create, request_of
from bench.load import SATURATED, Load, run_load
from bench.servers import PIECES, Server
from bench.workload import Workload

SMALLEST_SHARE = 0.10
LATEST_FIRST_EVENT_MS = 10.0

CONNECTIONS = 32
SERVER_USE = "server's use of its core"
GENERATOR_USE = "generator's use of its core"
BUSY = 0.85
"""A server that uses less than this share of its core waits for something else than itself."""
MOST_CREATES_A_SECOND = 2500
"""More than the product can make on one core: so many users wait for it."""
WARM_UP_S = 1
RAMP_S = 2
_PATIENCE_S = 60


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured."""

    rounds: int
    round_s: int
    creates_in_turn: int
    streams: int
    delay_ms: float


FULL = Effort(rounds=4, round_s=5, creates_in_turn=400, streams=500, delay_ms=400)
QUICK = Effort(rounds=2, round_s=2, creates_in_turn=100, streams=500, delay_ms=250)


@dataclass(frozen=True, slots=True)
class Bench:
    """Both servers, and what is asked of them."""

    servers: dict[str, Server]
    workload: Workload
    folder: Path
    generator: str
    effort: Effort

    def load(self, name: str, seconds: int) -> Load:
        count = MOST_CREATES_A_SECOND * seconds if name == PRODUCT else 1000
        creates = self._creates(name, count)
        url, path = self.servers[name].url, self.workload.path
        return run_load(self.generator, url, path, creates, self.folder, CONNECTIONS, seconds)

    def requests(self, name: str, count: int) -> list[bytes]:
        return [request_of(self.workload.path, create) for create in self._creates(name, count)]

    def _creates(self, name: str, count: int) -> list[Create]:
        """The bare application keeps nothing, so the same create will do again and again."""
        return self.workload.take(count) if name == PRODUCT else [Create("x" * 200, "0" * 24)] * count


@dataclass(frozen=True, slots=True)
class _Round:
    load: Load
    cpu_s: float


def throughput(bench: Bench) -> list[Figure]:
    """Creates a second with many connections, and the CPU that one costs."""
    for name in bench.servers:
        bench.load(name, WARM_UP_S)
    rounds: dict[str, list[_Round]] = {name: [] for name in bench.servers}
    for _ in range(bench.effort.rounds):
        for name, server in bench.servers.items():
            before = server.cpu_s()
            load = bench.load(name, bench.effort.round_s)
            rounds[name].append(_Round(load, server.cpu_s() - before))
    rates = {name: statistics.median(one.load.rate for one in some) for name, some in rounds.items()}
    costs = {name: _cpu_us(some) for name, some in rounds.items()}
    per_cpu_second = {name: 1e6 / cost for name, cost in costs.items()}
    generators = {name: 100 * max(one.load.cpu_share for one in some) for name, some in rounds.items()}
    return [
        Figure(f"creates, {CONNECTIONS} connections", "1/s", rates, "share", _share_bound(rates)),
        Figure("creates in a CPU second", "1/s", per_cpu_second, "share", _share_bound(per_cpu_second)),
        Figure("CPU of a create", "us", costs, "difference"),
        Figure(SERVER_USE, "%", {name: _busy(some) for name, some in rounds.items()}),
        Figure(f"{GENERATOR_USE} ({bench.generator})", "%", generators),
    ]


def _share_bound(values: dict[str, float]) -> Bound:
    return Bound(values[PRODUCT] / values[BARE], SMALLEST_SHARE, "at least")


def remarks(figures: Sequence[Figure]) -> dict[str, str]:
    """How far the rates can be believed, in words."""
    generators = _use(figures, GENERATOR_USE)
    saturated = [name for name, percent in generators.items() if percent >= 100 * SATURATED]
    idle = [f"{name} {percent:.0f} %" for name, percent in _use(figures, SERVER_USE).items() if percent < 100 * BUSY]
    return {
        "generator": f"saturated with {' and '.join(saturated)}" if saturated else "never saturated",
        "servers": (
            f"not saturated ({', '.join(idle)} of a core): the machine was busy or the generator slow, so the share "
            "of CPU seconds holds, that of rates does not"
            if idle
            else "saturated, as they should be"
        ),
    }


def _use(figures: Sequence[Figure], name: str) -> Mapping[str, float]:
    return next(figure.values for figure in figures if figure.name.startswith(name))


def _cpu_us(rounds: Sequence[_Round]) -> float:
    return statistics.median(1e6 * one.cpu_s / one.load.creates for one in rounds)


def _busy(rounds: Sequence[_Round]) -> float:
    return statistics.median(100 * one.cpu_s / one.load.seconds for one in rounds)


def latency(bench: Bench) -> list[Figure]:
    """How soon one client, alone, hears something."""
    times: dict[str, list[Times]] = {name: [] for name in bench.servers}
    block = bench.effort.creates_in_turn // 4
    for name, server in bench.servers.items():
        clients.create_in_turn(server.url, bench.requests(name, block))
    for _ in range(4):
        for name, server in bench.servers.items():
            times[name] += clients.create_in_turn(server.url, bench.requests(name, block))
    events = {name: [1000 * one.first_event for one in some] for name, some in times.items()}
    pieces = {name: [1000 * one.first_piece for one in some] for name, some in times.items()}
    wholes = {name: [1000 * one.whole for one in some] for name, some in times.items()}
    bound = Bound(statistics.median(events[PRODUCT]), LATEST_FIRST_EVENT_MS, "at most")
    return [
        _percentile("first event at one client", 50, events, bound),
        _percentile("first event at one client", 99, events),
        _percentile("first piece at one client", 50, pieces),
        _percentile("first piece at one client", 99, pieces),
        _percentile("whole answer at one client", 50, wholes),
    ]


def _percentile(name: str, percent: int, values: dict[str, list[float]], bound: Bound | None = None) -> Figure:
    found = {server: percentile(some, percent) for server, some in values.items()}
    return Figure(f"{name}, p{percent}", "ms", found, "difference", bound)


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def slow_streams(bench: Bench) -> list[Figure]:
    """Many streams open at once, whose pieces come slowly: their memory, and how late the pieces are."""
    memory: dict[str, float] = {}
    firsts: dict[str, list[float]] = {}
    late: dict[str, list[float]] = {}
    for name, server in bench.servers.items():
        before, arrivals, during = _open_streams(bench, name, server)
        memory[name] = (during - before) / bench.effort.streams
        firsts[name] = [1000 * one[0] - bench.effort.delay_ms for one in arrivals]
        late[name] = [lateness for one in arrivals for lateness in _lateness(one, bench.effort.delay_ms)]
    count = bench.effort.streams
    return [
        Figure(f"memory of an open stream, {count} open", "KiB", memory, "difference"),
        _percentile(f"first piece beyond its pause, {count} open", 50, firsts),
        _percentile(f"lateness of a piece, {count} open", 99, late),
    ]


def _open_streams(bench: Bench, name: str, server: Server) -> tuple[float, list[list[float]], float]:
    """Memory before, each stream's arrivals, memory while all were open (KiB)."""
    effort = bench.effort
    limit_s = RAMP_S + PIECES * effort.delay_ms / 1000 + _PATIENCE_S
    during: list[float] = []

    def run(count: int) -> list[list[float]]:
        requests = bench.requests(name, count)
        ramp_s = RAMP_S * count / effort.streams
        opening = clients.open_slow_streams(
            server.url, requests, ramp_s, limit_s, lambda: during.append(server.rss_kib())
        )
        return uvloop.run(opening)

    run(effort.streams // 20)  # what is made once, for the first streams, is not what a stream costs
    before = server.rss_kib()
    arrivals = run(effort.streams)
    return before, arrivals, during[-1]


def _lateness(arrivals: Sequence[float], delay_ms: float) -> list[float]:
    """By how many ms each piece came later after the one before than the pause says; the last, empty one has none."""
    spoken = arrivals[:-1]
    return [1000 * (later - earlier) - delay_ms for earlier, later in itertools.pairwise(spoken)]
