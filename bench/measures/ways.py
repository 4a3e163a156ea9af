"""What a create costs on the ways that users really take, beside the one that is easiest."""

import statistics
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from tests.support import postgres

from bench import servers, workload
from bench.figures import PRODUCT, Bound, Figure, Section
from bench.load import NotAResult
from bench.servers import Server
from bench.setting import MOST_CREATES_A_SECOND, Setting

DEAREST: Mapping[str, float] = {"on PostgreSQL": 1.0, "with a model over HTTP": 1.3}
"""The most CPU of a create, in that of one on SQLite with the scripted model."""
EASY = "on SQLite, scripted"
ROUNDS = 7
CONNECTIONS = (1, 4, 16)
WARM_UP_S = 1
ROUND_S = 2

_TEXT = (
    f"Servers that differ in one thing are loaded by turns, in {ROUNDS} rounds: by 16 connections that are kept, and "
    "the easy one by fewer too. What counts is the CPU of Tertulia's process; that of PostgreSQL, and of the model's "
    "server, which answers in no time, is not in it. The spread is that of the rounds."
)


@dataclass(frozen=True, slots=True)
class _Way:
    """A server, and the users who come to it."""

    server: Server
    setting: Setting

    def cost_us(self, connections: int, seconds: int = ROUND_S) -> float:
        creates = self.setting.workload.take(MOST_CREATES_A_SECOND * seconds)
        before = self.server.cpu_s()
        load = self.setting.load(self.server.url, creates, seconds, connections)
        if not load.creates:
            raise NotAResult("no create was answered")
        return 1e6 * (self.server.cpu_s() - before) / load.creates


def measure(setting: Setting) -> Section:
    with _ways(setting) as ways:
        for way in ways.values():
            way.cost_us(CONNECTIONS[-1], WARM_UP_S)
        costs: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                for connections in CONNECTIONS if name == EASY else CONNECTIONS[-1:]:
                    costs.setdefault(f"{name}, {connections}", []).append(way.cost_us(connections))
    return Section("Ways to a first turn", _figures(costs), _TEXT)


@contextmanager
def _ways(setting: Setting) -> Generator[dict[str, _Way]]:
    core = setting.cores.server
    with ExitStack() as stack:
        fake = stack.enter_context(servers.fake_model(setting.folder, setting.cores.load))
        database = stack.enter_context(postgres.running("127.0.0.1", str(setting.folder.parent), durable=True))
        folder, url = setting.folder / "ways", database.create()
        folder.mkdir()
        own = replace(setting, workload=workload.prepare(folder, url))
        remote = {"MODEL": "openai:x", "OPENAI_BASE_URL": f"{fake.url}/v1", "OPENAI_API_KEY": "secret"}
        yield {
            EASY: _Way(stack.enter_context(servers.tertulia(setting.folder, core)), setting),
            "on PostgreSQL": _Way(stack.enter_context(servers.tertulia(folder, core, {"DATABASE_URL": url})), own),
            "with a model over HTTP": _Way(
                stack.enter_context(servers.tertulia(setting.folder, core, remote)), setting
            ),
        }


def _figures(costs: Mapping[str, list[float]]) -> list[Figure]:
    easy = statistics.median(costs[f"{EASY}, {CONNECTIONS[-1]}"])
    figures: list[Figure] = []
    for name, some in costs.items():
        median = statistics.median(some)
        figures.append(
            Figure(
                f"CPU of a create {name} connections",
                "us",
                {PRODUCT: median},
                note=f"{min(some):.0f} to {max(some):.0f}",
            )
        )
        way = name.rpartition(",")[0]
        if way in DEAREST:
            share = median / easy
            bound = Bound(share, DEAREST[way], "at most")
            figures.append(Figure(f"{way}, to {EASY}", "", {PRODUCT: share}, bound=bound))
    return figures
