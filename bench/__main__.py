"""`python -m bench`: measure, print one table; exit code 1: a bound is missed, 2: there is no result."""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench import clients, machine, measures, servers, workload
from bench.figures import BARE, PRODUCT, Figure, as_json, missed, table
from bench.http import request_of
from bench.load import NotAResult, choose_generator
from bench.measures import FULL, QUICK, Bench, Effort
from bench.workload import Workload


def main() -> int:
    options = _options()
    for name in [name for name in os.environ if name.startswith("TERTULIA_")]:
        del os.environ[name]  # the settings that are measured are the product's own
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers and folders do not stay behind
    began = time.monotonic()
    try:
        with machine.folder_on_disk() as folder:
            facts = machine.facts(folder)
            figures = measure(folder, options.generator or choose_generator(), QUICK if options.quick else FULL)
    except NotAResult as error:
        print(f"No result: {error}", file=sys.stderr)
        return 2
    facts |= measures.remarks(figures)
    facts["took"] = f"{time.monotonic() - began:.0f} s"
    return _report(figures, facts, options.json)


def measure(folder: Path, generator: str, effort: Effort) -> list[Figure]:
    """All figures, in one run; the load has a core of its own where there are two."""
    server_core, load_core = machine.cores()
    with machine.pinned(load_core):
        _say("preparing users and services ...")
        work = workload.prepare(folder)
        lines = folder / "lines"
        with ExitStack() as stack:
            bench = _start(stack, folder, lines, work, server_core, generator, effort)
            _say("creates a second ...")
            figures = measures.throughput(bench)
            _say("one client ...")
            figures += measures.latency(bench)
        with ExitStack() as stack:
            bench = _start(stack, folder, lines, work, server_core, generator, effort, effort.delay_ms)
            _say(f"{effort.streams} slow streams ...")
            return figures + measures.slow_streams(bench)


def _start(
    stack: ExitStack,
    folder: Path,
    lines: Path,
    work: Workload,
    core: int | None,
    generator: str,
    effort: Effort,
    delay_ms: float = 0,
) -> Bench:
    """Start both servers; what the bare one streams is what the product has just answered."""
    product = stack.enter_context(servers.tertulia(folder, core, delay_ms))
    if not lines.exists():
        lines.write_bytes(b"".join(clients.create_once(product.url, request_of(work.path, work.take(1)[0]))))
    bare = stack.enter_context(servers.bare(lines, core, delay_ms))
    return Bench({PRODUCT: product, BARE: bare}, work, folder, generator, effort)


def _report(figures: Sequence[Figure], facts: dict[str, str], path: Path | None) -> int:
    print(table(figures), end="\n\n")
    for name, fact in facts.items():
        print(f"{name:<12} {fact}")
    failures = missed(figures)
    for failure in failures:
        print(f"MISSED: {failure}", file=sys.stderr)
    if path is not None:
        document = {"facts": facts, "figures": as_json(figures), "missed": failures}
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench", description="Measure Tertulia beside a bare application.")
    parser.add_argument("--quick", action="store_true", help="shorter rounds, rougher figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file too")
    parser.add_argument("--generator", choices=("wrk", "own"), help="what makes the load; wrk where there is one")
    return parser.parse_args()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
