"""Figures, the bounds that they must keep, and how both are shown."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

PRODUCT, BARE = "Tertulia", "bare"


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit that a value must keep."""

    value: float
    limit: float
    kind: Literal["at least", "at most"]

    @property
    def is_kept(self) -> bool:
        return self.value >= self.limit if self.kind == "at least" else self.value <= self.limit


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured of each server, and how the product compares with the bare application."""

    name: str
    unit: str
    values: Mapping[str, float]
    comparison: Literal["share", "difference", "none"] = "none"
    bound: Bound | None = None

    @property
    def compared(self) -> float | None:
        if self.comparison == "share":
            return self.values[PRODUCT] / self.values[BARE]
        if self.comparison == "difference":
            return self.values[PRODUCT] - self.values[BARE]
        return None


def missed(figures: Sequence[Figure]) -> list[str]:
    """Every bound that is not kept, in words."""
    return [
        f"{figure.name}: {_number(bound.value)}, must be {bound.kind} {bound.limit:g}"
        for figure in figures
        if (bound := figure.bound) is not None and not bound.is_kept
    ]


def table(figures: Sequence[Figure]) -> str:
    """All figures, a line each."""
    header = ("", "unit", PRODUCT, BARE, "compared", "bound")
    rows = [header, *(_row(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ["  ".join(_aligned(cell, widths, at) for at, cell in enumerate(row)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def as_json(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """The figures as a document."""
    return [{**asdict(figure), "compared": figure.compared} for figure in figures]


def _aligned(cell: str, widths: Sequence[int], column: int) -> str:
    return cell.rjust(widths[column]) if 2 <= column <= 4 else cell.ljust(widths[column])


def _row(figure: Figure) -> tuple[str, ...]:
    values = [_number(figure.values[name]) if name in figure.values else "" for name in (PRODUCT, BARE)]
    return figure.name, figure.unit, *values, _compared(figure), _bound(figure.bound)


def _compared(figure: Figure) -> str:
    value = figure.compared
    if value is None:
        return ""
    return f"x {value:.3f}" if figure.comparison == "share" else f"{'+' if value >= 0 else ''}{_number(value)}"


def _bound(bound: Bound | None) -> str:
    return f"{bound.kind} {bound.limit:g}: {'kept' if bound.is_kept else 'MISSED'}" if bound else ""


def _number(value: float) -> str:
    size = abs(value)
    return (
        f"{value:.0f}"
        if size >= 100
        else f"{value:.1f}"
        if size >= 10
        else f"{value:.2f}"
        if size >= 1
        else f"{value:.3f}"
    )
