"""The report of a run: a table for each section, as text, as a page of the documentation, or as JSON."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from bench.figures import BARE, PRODUCT, Bound, Figure, Section, missed, number

WIDTH = 120

_PAGE = """# Performance

This page was written by the benchmark (`python -m bench --write docs/reference/performance.md`) from the figures of one
run on the machine at its end. The figures are that machine's. What travels are shares and differences: both sides of
each were measured by turns, in that run.

To reproduce it: `make bench`, on a machine with two cores, nothing else to do and, best, `wrk` on the PATH.
[The benchmark](../../bench/README.md) says what is measured and how. It ends with code 1 when a bound is missed.

What no figure here says: how fast a language model is, which takes far longer than anything on this page; how a network
of real cables behaves; and how more cores than these are used.
"""


def as_page(sections: Sequence[Section], facts: Mapping[str, str]) -> str:
    """A page of Markdown."""
    parts = [_PAGE, "## Bounds\n", _bounds(sections)]
    for section in sections:
        text = textwrap.fill(section.text, WIDTH, break_long_words=False, break_on_hyphens=False)
        parts += [f"\n## {section.title}\n", _markdown(_rows(section)), f"\n{text}"]
    parts += ["\n## The machine and the run\n", _markdown([("fact", "value"), *facts.items()])]
    return "\n".join(parts) + "\n"


def as_document(sections: Sequence[Section], facts: Mapping[str, str]) -> dict[str, Any]:
    """Everything, for a program."""
    figures = [
        {"section": section.title, **asdict(figure), "compared": figure.compared}
        for section in sections
        for figure in section.figures
    ]
    return {"facts": dict(facts), "figures": figures, "missed": missed(sections)}


def _bounds(sections: Sequence[Section]) -> str:
    figures = [figure for section in sections for figure in section.figures]
    kept = sum(figure.bound is not None and figure.bound.is_kept for figure in figures)
    failures = missed(sections)
    skipped = [f"{figure.name}: {figure.note}" for figure in figures if not figure.values]
    lines = [f"{kept} of {kept + len(failures)} bounds were kept in this run."]
    if failures:
        lines += ["", "Missed:", "", *(f"- {failure}" for failure in failures)]
    if skipped:
        lines += ["", "Not measured:", "", *(f"- {figure}" for figure in skipped)]
    return "\n".join(lines)


def as_text(section: Section) -> str:
    """A table for a terminal."""
    rows = _rows(section)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    last = len(widths) - 1
    lines = [
        "  ".join(
            cell.rjust(widths[at]) if 2 <= at < last else cell.ljust(widths[at]) for at, cell in enumerate(row)
        ).rstrip()
        for row in rows
    ]
    return "\n".join([section.title, lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _rows(section: Section) -> list[tuple[str, ...]]:
    """A header and a row for each figure; a column for each server that any of them names."""
    servers = list(dict.fromkeys(name for figure in section.figures for name in figure.values)) or [PRODUCT]
    compared = BARE in servers
    header = ("", "unit", *servers, *(["compared"] if compared else []), "bound")
    return [header, *(_row(figure, servers, compared=compared) for figure in section.figures)]


def _row(figure: Figure, servers: Sequence[str], *, compared: bool) -> tuple[str, ...]:
    values = [number(figure.values[name]) if name in figure.values else "" for name in servers]
    return figure.name, figure.unit, *values, *([_compared(figure)] if compared else []), _remark(figure)


def _compared(figure: Figure) -> str:
    value = figure.compared
    if value is None:
        return ""
    return f"x {value:.3f}" if figure.comparison == "share" else f"{'+' if value >= 0 else ''}{number(value)}"


def _remark(figure: Figure) -> str:
    bound = _bound(figure.bound) if figure.bound else ""
    return "; ".join(filter(None, (bound, figure.note)))


def _bound(bound: Bound) -> str:
    return f"{bound.kind} {bound.limit:g}: {'kept' if bound.is_kept else 'MISSED'}"
