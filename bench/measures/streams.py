"""Many slow streams open at once in one process: their memory, and how late their pieces are."""

import gc
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass

import uvloop

from bench import clients
from bench.figures import PRODUCT, Bound, Figure, Section, percentile
from bench.measures.creates import percentile_figure
from bench.servers import Server
from bench.setting import Pair, Setting

LATEST_FIRST_PIECE_MS = 150.0
LARGEST_STREAM_KIB = 30.0
LATEST_PIECE_MS = 50.0
TAIL_S = 4
"""The time for which the first stream goes on after the last has been opened."""
_PATIENCE_S = 60

_TEXT = (
    "A stream is counted while all are open: they are opened evenly over {ramp:g} s, and each goes on for {length:g} s "
    "with a piece every {delay:g} ms. A first piece is timed from the request, less its scripted pause; a piece is as "
    "late as the time since the one before it exceeds the pause. Memory is the growth of the process's resident "
    "memory, so what an allocator keeps from earlier work flatters it, and fragments count against it. The bare figure "
    "is the share of the connection and the server below; what a stream has said so far, kept for those who come back "
    "to it, is the largest part of the rest, and grows as the stream does."
)


@dataclass(frozen=True, slots=True)
class _Seen:
    kib: float
    arrivals: list[list[float]]
    server_use: float
    reader_use: float


def measure(setting: Setting) -> Section:
    effort = setting.effort
    pieces = round(1000 * (effort.ramp_s + TAIL_S) / effort.delay_ms)
    with setting.pair(pieces, effort.delay_ms) as pair:
        seen = {name: _open_streams(pair, name, server) for name, server in pair.servers.items()}
    delay, count = effort.delay_ms, effort.streams
    firsts = {name: [1000 * one[0] - delay for one in some.arrivals] for name, some in seen.items()}
    late = {name: [late for one in some.arrivals for late in _lateness(one, delay)] for name, some in seen.items()}
    memory = {name: some.kib for name, some in seen.items()}
    first_bound = Bound(percentile(firsts[PRODUCT], 50), LATEST_FIRST_PIECE_MS, "at most")
    late_bound = Bound(percentile(late[PRODUCT], 99), LATEST_PIECE_MS, "at most")
    figures = [
        percentile_figure("first piece beyond its pause", 50, firsts, first_bound),
        percentile_figure("first piece beyond its pause", 99, firsts),
        Figure(
            "memory of a stream", "KiB", memory, "difference", Bound(memory[PRODUCT], LARGEST_STREAM_KIB, "at most")
        ),
        percentile_figure("lateness of a piece", 50, late),
        percentile_figure("lateness of a piece", 99, late, late_bound),
        Figure("server's use of its core", "%", {name: 100 * some.server_use for name, some in seen.items()}),
        Figure("reader's use of its core", "%", {name: 100 * some.reader_use for name, some in seen.items()}),
    ]
    text = _TEXT.format(ramp=effort.ramp_s, length=effort.ramp_s + TAIL_S, delay=delay)
    return Section(f"{count:,} slow streams in one process", figures, text)


def _open_streams(pair: Pair, name: str, server: Server) -> _Seen:
    effort = pair.setting.effort
    during: list[float] = []

    def run(count: int, ramp_s: float) -> list[list[float]]:
        limit_s = 2 * (effort.ramp_s + TAIL_S) + _PATIENCE_S
        requests = pair.requests(name, count)
        opening = clients.open_slow_streams(
            server.url, requests, ramp_s, limit_s, lambda: during.append(server.rss_kib())
        )
        return uvloop.run(opening)

    run(effort.streams // 20, 1)  # what is made once, for the first streams, is not what a stream costs
    before, server_cpu, reader_cpu, began = server.rss_kib(), server.cpu_s(), time.process_time(), time.monotonic()
    gc.disable()  # the reader must not pause
    try:
        arrivals = run(effort.streams, effort.ramp_s)
    finally:
        gc.enable()
    took = time.monotonic() - began
    return _Seen(
        (during[-1] - before) / effort.streams,
        arrivals,
        (server.cpu_s() - server_cpu) / took,
        (time.process_time() - reader_cpu) / took,
    )


def _lateness(arrivals: Sequence[float], delay_ms: float) -> list[float]:
    """By how many ms each piece came later after the one before than the pause says; the last, empty one has none."""
    spoken = arrivals[:-1]
    return [1000 * (later - earlier) - delay_ms for earlier, later in itertools.pairwise(spoken)]
