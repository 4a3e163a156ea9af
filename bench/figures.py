"""Figures, the bounds that they must keep, and sections of them."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

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
    """A figure of each server, and how the product compares with the bare application."""

    name: str
    unit: str
    values: Mapping[str, float]
    comparison: Literal["share", "difference", "none"] = "none"
    bound: Bound | None = None
    note: str = ""
    """A remark that has to be made, such as why there is no value."""

    @property
    def compared(self) -> float | None:
        if self.comparison == "share":
            return self.values[PRODUCT] / self.values[BARE]
        if self.comparison == "difference":
            return self.values[PRODUCT] - self.values[BARE]
        return None


@dataclass(frozen=True, slots=True)
class Section:
    """Figures of one subject; `text` is what a reader has to know to believe them, and to believe no more."""

    title: str
    figures: Sequence[Figure]
    text: str


def missed(sections: Sequence[Section]) -> list[str]:
    """Every bound that is not kept, in words."""
    return [
        f"{figure.name}: {_value(figure, bound)}, must be {bound.kind} {bound.limit:g}"
        for section in sections
        for figure in section.figures
        if (bound := figure.bound) is not None and not bound.is_kept
    ]


def _value(figure: Figure, bound: Bound) -> str:
    value = number(bound.value)
    return f"{value} of the bare application" if figure.comparison == "share" else f"{value} {figure.unit}".rstrip()


def number(value: float) -> str:
    """Three digits or more."""
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:.{digits}f}"


def percentile(values: Sequence[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]
