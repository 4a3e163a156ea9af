"""Creates a second, and the time until one client hears something, beside the bare application."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bench import clients
from bench.clients import Times
from bench.figures import BARE, PRODUCT, Bound, Figure, Section, percentile
from bench.load import SATURATED, Load
from bench.setting import CONNECTIONS, Pair, Setting

SMALLEST_SHARE = 0.20
LATEST_MS = {("first event", 50): 0.5, ("first event", 99): 1.5, ("whole answer", 50): 1.0, ("whole answer", 99): 2.5}
"""At one client, beyond the bare application, by percentile."""
BUSY = 0.85
"""A server that uses less than this share of its core waits for something else than itself."""
WARM_UP_S = 1

_TEXT = (
    "The bare application streams the same bytes and does nothing else: no routing, authentication or storage. Where a "
    "server did not use its core up, the share of CPU seconds holds and that of rates says nothing; {servers}. The "
    "load was made by {generator}, which was {saturated}. A first event waits for no disk, a whole answer for one."
)


@dataclass(frozen=True, slots=True)
class _Round:
    load: Load
    cpu_s: float


def measure(setting: Setting) -> Section:
    with setting.pair() as pair:
        rounds = _rounds(pair)
        figures = [*_throughput(rounds), *_use(rounds, setting.generator), *_latency(pair)]
    return Section("Creates", figures, _text(rounds, setting.generator))


def _rounds(pair: Pair) -> dict[str, list[_Round]]:
    effort = pair.setting.effort
    for name in pair.servers:
        pair.load(name, WARM_UP_S)
    rounds: dict[str, list[_Round]] = {name: [] for name in pair.servers}
    for _ in range(effort.rounds):
        for name, server in pair.servers.items():
            before = server.cpu_s()
            load = pair.load(name, effort.round_s)
            rounds[name].append(_Round(load, server.cpu_s() - before))
    return rounds


def _throughput(rounds: dict[str, list[_Round]]) -> list[Figure]:
    rates = {name: statistics.median(one.load.rate for one in some) for name, some in rounds.items()}
    costs = {
        name: statistics.median(1e6 * one.cpu_s / one.load.creates for one in some) for name, some in rounds.items()
    }
    per_cpu_second = {name: 1e6 / cost for name, cost in costs.items()}
    saturated = not _idle(rounds)
    bound, note = (_share_bound(rates), "") if saturated else (None, "not judged: the machine was busy")
    return [
        Figure(f"creates, {CONNECTIONS} connections", "1/s", rates, "share", bound, note),
        Figure("creates in a CPU second", "1/s", per_cpu_second, "share", _share_bound(per_cpu_second)),
        Figure("CPU of a create", "us", costs, "difference"),
    ]


def _share_bound(values: dict[str, float]) -> Bound:
    return Bound(values[PRODUCT] / values[BARE], SMALLEST_SHARE, "at least")


def _use(rounds: dict[str, list[_Round]], generator: str) -> list[Figure]:
    generators = {name: 100 * _generator_use(some) for name, some in rounds.items()}
    return [
        Figure("server's use of its core", "%", {name: 100 * _server_use(some) for name, some in rounds.items()}),
        Figure(f"generator's use of its core ({generator})", "%", generators),
    ]


def _idle(rounds: dict[str, list[_Round]]) -> list[str]:
    return [name for name, some in rounds.items() if _server_use(some) < BUSY]


def _server_use(rounds: Sequence[_Round]) -> float:
    return statistics.median(one.cpu_s / one.load.seconds for one in rounds)


def _generator_use(rounds: Sequence[_Round]) -> float:
    return max(one.load.cpu_share for one in rounds)


def _text(rounds: dict[str, list[_Round]], generator: str) -> str:
    idle = _idle(rounds)
    saturated = [name for name, some in rounds.items() if _generator_use(some) >= SATURATED]
    return _TEXT.format(
        servers=f"here that was so with {' and '.join(idle)}" if idle else "here both used theirs up",
        generator=generator if generator == "wrk" else "our own generator",
        saturated=f"saturated with {' and '.join(saturated)}" if saturated else "never saturated",
    )


def _latency(pair: Pair) -> list[Figure]:
    """Measure how soon one client, alone, hears something."""
    times: dict[str, list[Times]] = {name: [] for name in pair.servers}
    block = pair.setting.effort.creates_in_turn // 4
    for name, server in pair.servers.items():
        clients.create_in_turn(server.url, pair.requests(name, block))
    for _ in range(4):
        for name, server in pair.servers.items():
            times[name] += clients.create_in_turn(server.url, pair.requests(name, block))
    came = {
        "first event": {name: [1000 * one.first_event for one in some] for name, some in times.items()},
        "first piece": {name: [1000 * one.first_piece for one in some] for name, some in times.items()},
        "whole answer": {name: [1000 * one.whole for one in some] for name, some in times.items()},
    }
    return [
        percentile_figure(f"{what} at one client", percent, values, _latest(what, percent, values))
        for what, values in came.items()
        for percent in (50, 99)
    ]


def _latest(what: str, percent: int, values: dict[str, list[float]]) -> Bound | None:
    """The bound of a percentile beyond that of the bare application, if there is one."""
    limit = LATEST_MS.get((what, percent))
    beyond = percentile(values[PRODUCT], percent) - percentile(values[BARE], percent)
    return None if limit is None else Bound(beyond, limit, "at most")


def percentile_figure(name: str, percent: int, values: dict[str, list[float]], bound: Bound | None = None) -> Figure:
    """A percentile of each server's values, in milliseconds."""
    found = {server: percentile(some, percent) for server, some in values.items()}
    return Figure(f"{name}, p{percent}", "ms", found, "difference", bound)
