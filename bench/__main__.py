"""`python -m bench`: measure, print the tables; exit code 1: a bound is missed, 2: a subject has no result."""

import argparse
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench import machine, report, workload
from bench.figures import Section, missed
from bench.load import NotAResult, choose_generator
from bench.measures import (
    conversation,
    creates,
    database,
    first_piece,
    growth,
    instructions,
    lists,
    operations,
    page,
    peers,
    pieces,
    scaling,
    start,
    streams,
    tools,
    trace,
    users,
    voice,
    ways,
)
from bench.setting import FULL, QUICK, Effort, Setting

SUBJECTS: dict[str, Callable[[Setting], Section]] = {
    "start": start.measure,
    "creates": creates.measure,
    "instructions": instructions.measure,
    "users": users.measure,
    "ways": ways.measure,
    "operations": operations.measure,
    "database": database.measure,
    "streams": streams.measure,
    "pieces": pieces.measure,
    "trace": trace.measure,
    "growth": growth.measure,
    "scaling": scaling.measure,
    "lists": lists.measure,
    "first-piece": first_piece.measure,
    "voice": voice.measure,
    "conversation": conversation.measure,
    "tools": tools.measure,
    "page": page.measure,
    "peers": peers.measure,
}


def main() -> int:
    options = _options()
    for name in [name for name in os.environ if name.startswith("TERTULIA_")]:
        del os.environ[name]  # the settings that are measured are the product's own
    signal.signal(signal.SIGTERM, _end)
    began = time.monotonic()
    effort = QUICK if options.quick else FULL
    try:
        _allow_open_files(2 * effort.streams + 500)
        with machine.folder_on_disk() as folder:
            facts = machine.facts(folder)
            generator = options.generator or choose_generator()
            measured = measure(folder, generator, effort, options.subjects)
    except NotAResult as error:
        print(f"No result: {error}", file=sys.stderr)
        return 2
    facts["load after"] = " ".join(f"{load:.2f}" for load in os.getloadavg())
    facts["seconds of each subject"] = ", ".join(f"{name} {seconds:.0f}" for name, seconds in measured.seconds.items())
    facts["took"] = f"{time.monotonic() - began:.0f} s{', --quick' if options.quick else ''}"
    status = _report(measured.sections, facts, options)
    for subject, reason in measured.failures.items():
        print(f"No result of {subject}: {reason}", file=sys.stderr)
    return 2 if measured.failures else status


def _end(_signal: int, _frame: object) -> None:
    """Leave as from an error, so that servers and folders are removed."""
    sys.exit(143)


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of a run, the time of each subject, and the reason why a subject has no result."""

    sections: list[Section] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


def measure(folder: Path, generator: str, effort: Effort, subjects: Sequence[str]) -> Measured:
    """Measure subjects in one run, all of them even if one has no result. Return their figures.

    The load has a core of its own if there are two.
    """
    measured = Measured()
    cores = machine.cores()
    with machine.pinned(cores.load):
        _say("users and services ...")
        setting = Setting(folder, workload.prepare(folder), generator, effort, cores)
        for subject in subjects:
            _say(f"{subject} ...")
            began = time.monotonic()
            try:
                measured.sections.append(SUBJECTS[subject](setting))
            except NotAResult as error:
                measured.failures[subject] = str(error)
                _say(f"{subject} has no result: {error}")
                continue
            measured.seconds[subject] = time.monotonic() - began
            _say(f"{subject} took {measured.seconds[subject]:.0f} s, load {os.getloadavg()[0]:.2f}")
            print(report.as_text(measured.sections[-1]), end="\n\n", flush=True)
    return measured


def _allow_open_files(wanted: int) -> None:
    """Servers inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise NotAResult(f"a process may have {hard} open files, and {wanted} are needed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _report(sections: Sequence[Section], facts: dict[str, str], options: argparse.Namespace) -> int:
    for name, fact in facts.items():
        print(f"{name:<12} {fact}")
    failures = missed(sections)
    for failure in failures:
        print(f"MISSED: {failure}", file=sys.stderr)
    if options.json is not None:
        document = json.dumps(report.as_document(sections, facts), indent=2)
        options.json.write_text(document + "\n", encoding="utf-8")
    if options.write is not None:
        options.write.write_text(report.as_page(sections, facts), encoding="utf-8")
    return 1 if failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench", description="Measure Tertulia beside a bare application.")
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"some of: {', '.join(SUBJECTS)} (all)")
    parser.add_argument("--quick", action="store_true", help="shorter rounds, rougher figures, smaller numbers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file too")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write a page of documentation too")
    parser.add_argument("--generator", choices=("wrk", "own"), help="what makes the load; wrk where there is one")
    options = parser.parse_args()
    options.subjects = options.subjects or list(SUBJECTS)
    unknown = [subject for subject in options.subjects if subject not in SUBJECTS]
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}")
    return options


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
