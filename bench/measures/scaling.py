"""The cost of several workers, and of several hosts: creates per CPU second of all of them."""

import statistics
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from bench import hosts, machine, servers, workload
from bench.figures import PRODUCT, Bound, Figure, Section
from bench.hosts import Host
from bench.servers import Server
from bench.setting import CONNECTIONS, MOST_CREATES_A_SECOND, Setting
from support import postgres

SMALLEST_SHARE_OF_WORKERS: Mapping[int, float | None] = {1: None, 2: 0.90, 4: 0.80}
"""Creates in a CPU second of so many workers, in those of one."""
SMALLEST_SHARE_OF_HOSTS: Mapping[int, float | None] = {1: None, 2: 0.80}
MOST_MEMORY_MIB = 250.0
"""Of four workers."""
WARM_UP_S = 1

_TEXT = (
    f"Servers, load and database share all cores here, each worker and each host has {CONNECTIONS} connections of its "
    "own, and what counts is the CPU of Tertulia's processes alone. With as few cores as this machine has, the figures "
    "say what one more worker or host costs, not how much faster two are: that takes more cores. Hosts are network "
    "namespaces joined by a bridge, so a hop costs less than a cable does. PostgreSQL is durable (fsync on). "
    "Memory is the sum of the processes' proportional set sizes after the load. Part of what a second worker costs is "
    "the machine's: two busy processes share caches. On SQLite they share no commits either, and each has to read "
    "again what the other has changed."
)


@dataclass(frozen=True, slots=True)
class _Group:
    """Servers that are loaded at once, and how many workers each has."""

    servers: Sequence[Server]
    workers: int = 1

    def creates_per_cpu_s(self, setting: Setting, seconds: int) -> float:
        work, connections = setting.workload, CONNECTIONS * self.workers
        count = MOST_CREATES_A_SECOND * seconds
        before = self._cpu_s()
        with ThreadPoolExecutor(len(self.servers)) as threads:
            loads = [
                threads.submit(setting.load, server.url, work.take(count), seconds, connections)
                for server in self.servers
            ]
            creates = sum(load.result().creates for load in loads)
        return creates / (self._cpu_s() - before)

    def _cpu_s(self) -> float:
        return sum(server.cpu_s() for server in self.servers)


def measure(setting: Setting) -> Section:
    with machine.pinned(setting.cores.all):
        figures = [*_workers(setting, "SQLite", setting.folder), *_on_postgres(setting)]
    return Section("Workers and hosts", figures, _TEXT)


def _on_postgres(setting: Setting) -> list[Figure]:
    why_not = hosts.missing()
    with ExitStack() as stack:
        made = [] if why_not else stack.enter_context(hosts.hosts())
        here = hosts.HERE if made else "127.0.0.1"
        database = stack.enter_context(postgres.running(here, str(setting.folder.parent), durable=True))
        folder = setting.folder / "postgres"
        folder.mkdir()
        url = database.create()
        own = replace(setting, workload=workload.prepare(folder, url))
        figures = _workers(own, "PostgreSQL", folder, {"DATABASE_URL": url})
        if why_not:
            return [*figures, Figure("2 hosts to 1 on PostgreSQL", "", {}, note=f"skipped: {why_not}")]
        return [*figures, *_hosts(own, folder, url, made)]


def _workers(setting: Setting, database: str, folder: Path, settings: Mapping[str, str] | None = None) -> list[Figure]:
    with ExitStack() as stack:
        groups = [
            _Group(
                [stack.enter_context(servers.tertulia(folder, setting.cores.all, settings, ["--workers", str(count)]))],
                workers=count,
            )
            for count in SMALLEST_SHARE_OF_WORKERS
        ]
        figures = _compared(setting, groups, f"worker on {database}", SMALLEST_SHARE_OF_WORKERS)
        used = sum(server.pss_mib() for server in groups[-1].servers)
    name = f"memory of {groups[-1].workers} workers on {database}, shared pages once"
    return [*figures, Figure(name, "MiB", {PRODUCT: used}, bound=Bound(used, MOST_MEMORY_MIB, "at most"))]


def _hosts(setting: Setting, folder: Path, url: str, made: Sequence[Host]) -> list[Figure]:
    with ExitStack() as stack:
        running = [
            stack.enter_context(
                servers.tertulia(
                    folder,
                    setting.cores.all,
                    {"DATABASE_URL": url, "RELAY_HOST": host.address},
                    ["--host", host.address],
                    ["ip", "netns", "exec", host.name],
                )
            )
            for host in made
        ]
        return _compared(setting, [_Group(running[:1]), _Group(running)], "host on PostgreSQL", SMALLEST_SHARE_OF_HOSTS)


def _compared(
    setting: Setting, groups: Sequence[_Group], what: str, smallest: Mapping[int, float | None]
) -> list[Figure]:
    """Creates in a CPU second of each group, and the share of the first one's; loaded by turns."""
    for group in groups:
        group.creates_per_cpu_s(setting, WARM_UP_S)
    rounds = [
        [group.creates_per_cpu_s(setting, setting.effort.round_s) for group in groups]
        for _ in range(setting.effort.rounds)
    ]
    noun, _, where = what.partition(" ")
    figures: list[Figure] = []
    first = 0.0
    for (count, least), values in zip(smallest.items(), zip(*rounds, strict=True), strict=True):
        rate, spread = statistics.median(values), f"{min(values):.0f} to {max(values):.0f}"
        first = first or rate
        named = f"1 {what}" if count == 1 else f"{count} {noun}s {where}"
        figures.append(Figure(f"creates in a CPU second, {named}", "1/s", {PRODUCT: rate}, note=spread))
        if least is not None:
            share = rate / first
            bound = Bound(share, least, "at least")
            figures.append(Figure(f"{count} {noun}s to 1 {where}", "", {PRODUCT: share}, bound=bound))
    return figures
