"""The cost of a turn's trace: CPU of the same creates with each detail of the trace, and without one."""

import statistics
from contextlib import ExitStack

from bench import servers
from bench.figures import PRODUCT, Bound, Figure, Section
from bench.load import NotAResult
from bench.servers import Server
from bench.setting import MOST_CREATES_A_SECOND, Setting

DEAREST = 1.05
"""The CPU of a create with a trace, in that of one without."""
DETAILS = ("off", "spans", "prompts")
WARM_UP_S = 1

_TEXT = (
    "Three servers on one installation, which differ in `TERTULIA_TRACE` alone, are loaded by turns, in rounds whose "
    "order rotates. What is compared is the median over rounds of the CPU that a create costs the server's process."
)


def measure(setting: Setting) -> Section:
    costs: dict[str, list[float]] = {detail: [] for detail in DETAILS}
    with ExitStack() as stack:
        running = {
            detail: stack.enter_context(servers.tertulia(setting.folder, setting.cores.server, {"TRACE": detail}))
            for detail in DETAILS
        }
        for detail in DETAILS:
            _cost(setting, running[detail], WARM_UP_S)
        for number in range(3 * setting.effort.rounds):
            for detail in DETAILS[number % 3 :] + DETAILS[: number % 3]:
                costs[detail].append(_cost(setting, running[detail], max(1, setting.effort.round_s // 3)))
    medians = {detail: statistics.median(some) for detail, some in costs.items()}
    return Section("The trace of a turn", _figures(medians), _TEXT)


def _cost(setting: Setting, server: Server, seconds: int) -> float:
    before = server.cpu_s()
    load = setting.load(server.url, setting.workload.take(MOST_CREATES_A_SECOND * seconds), seconds)
    if not load.creates:
        raise NotAResult("no create was answered")
    return 1e6 * (server.cpu_s() - before) / load.creates


def _figures(medians: dict[str, float]) -> list[Figure]:
    figures = [Figure(f"CPU of a create, trace {detail}", "us", {PRODUCT: medians[detail]}) for detail in DETAILS]
    for detail in DETAILS[1:]:
        share = medians[detail] / medians["off"]
        figures.append(Figure(f"trace {detail} to off", "", {PRODUCT: share}, bound=Bound(share, DEAREST, "at most")))
    return figures
