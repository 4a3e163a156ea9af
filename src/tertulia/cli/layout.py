"""A layered layout of a diagram, after Sugiyama: ranks, an order with few crossings, coordinates. Pure.

Every arrow passes a place of its own in each rank between its ends, so no line crosses a box, and its label stands at
the first of these places, so no two labels overlap.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

SWEEPS = 12
GAP_X, GAP_Y = 26.0, 34.0

Size = tuple[float, float]


@dataclass(slots=True, eq=False)
class Place:
    """A box, a label, or a bend of a line: its size and where its middle is."""

    width: float
    height: float
    rank: int
    x: float = 0.0
    y: float = 0.0
    above: list["Place"] = field(default_factory=list["Place"])
    below: list["Place"] = field(default_factory=list["Place"])


@dataclass(frozen=True, slots=True)
class Layout:
    """The places of boxes by name, and those that each arrow passes from its beginning to its end."""

    boxes: Mapping[str, Place]
    lines: Sequence[Sequence[Place]]
    labels: Sequence[Place]
    width: float
    height: float


def lay_out(boxes: Mapping[str, Size], arrows: Sequence[tuple[str, str, Size]]) -> Layout:
    """Lay boxes out, the first one on top; an arrow goes from a box to another one, and has a label's size."""
    upward = _upward(list(boxes), arrows)
    ranks = _ranks(list(boxes), [(b, a) if up else (a, b) for (a, b, _), up in zip(arrows, upward, strict=True)])
    places = {name: Place(*size, ranks[name]) for name, size in boxes.items()}
    rows: list[list[Place]] = [[] for _ in range(max(ranks.values(), default=0) + 1)]
    for place in places.values():
        rows[place.rank].append(place)
    lines: list[list[Place]] = []
    labels: list[Place] = []
    for (source, target, size), up in zip(arrows, upward, strict=True):
        first, last = (places[target], places[source]) if up else (places[source], places[target])
        way = _way(first, last, rows)
        label = way[-2] if up else way[1]
        label.width, label.height = size
        labels.append(label)
        lines.append(way[::-1] if up else way)
    _order(rows)
    _place_x(rows)
    return Layout(places, lines, labels, _move_to_left(rows), _place_y(rows))


def _way(first: Place, last: Place, rows: Sequence[list[Place]]) -> list[Place]:
    """Lead a line down from a box to another one, with a place in each row between. Return all that it passes."""
    passed = [Place(0.0, 0.0, rank) for rank in range(first.rank + 1, last.rank)]
    for place in passed:
        rows[place.rank].append(place)
    way = [first, *passed, last]
    for before, after in pairwise(way):
        before.below.append(after)
        after.above.append(before)
    return way


def _move_to_left(rows: Sequence[Sequence[Place]]) -> float:
    """Move all places so that the first begins behind the margin. Return the width of the whole."""
    places = [place for row in rows for place in row]
    left = min((place.x - place.width / 2 for place in places), default=0.0)
    for place in places:
        place.x += GAP_X - left
    return max((place.x + place.width / 2 for place in places), default=0.0) + GAP_X


def _upward(names: Sequence[str], arrows: Sequence[tuple[str, str, Size]]) -> list[bool]:
    """Find the arrows that lead back to a box on the way to them, depth first. Returns true for each of these."""
    leaving: dict[str, list[int]] = {name: [] for name in names}
    for number, (source, _target, _size) in enumerate(arrows):
        leaving[source].append(number)
    upward = [False] * len(arrows)
    done: set[str] = set()
    for root in names:
        path: dict[str, None] = {}
        stack: list[tuple[str, int]] = [(root, 0)]
        while stack:
            name, turn = stack.pop()
            if turn == 0:
                if name in done:
                    continue
                done.add(name)
                path[name] = None
            if turn == len(leaving[name]):
                path.pop(name, None)
                continue
            stack.append((name, turn + 1))
            number = leaving[name][turn]
            target = arrows[number][1]
            if target in path:
                upward[number] = True
            elif target not in done:
                stack.append((target, 0))
    return upward


def _ranks(names: Sequence[str], ways: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Rank boxes by the longest way to them, without circles. Returns even ranks: labels stand on odd ones."""
    below: dict[str, list[str]] = {name: [] for name in names}
    waiting_for = dict.fromkeys(names, 0)
    for source, target in ways:
        below[source].append(target)
        waiting_for[target] += 1
    ranks = dict.fromkeys(names, 0)
    ready = [name for name in names if not waiting_for[name]]
    for name in ready:
        for target in below[name]:
            ranks[target] = max(ranks[target], ranks[name] + 2)
            waiting_for[target] -= 1
            if not waiting_for[target]:
                ready.append(target)
    return ranks


def _order(rows: list[list[Place]]) -> None:
    """Sort each row by the middle of its neighbours, downwards and upwards by turns."""
    for sweep in range(SWEEPS):
        down = sweep % 2 == 0
        for row in rows[1:] if down else rows[-2::-1]:
            at = {id(place): n for other in rows for n, place in enumerate(other)}
            own = {id(place): n for n, place in enumerate(row)}

            def middle(
                place: Place, at: dict[int, int] = at, own: dict[int, int] = own, down: bool = down
            ) -> tuple[float, int]:
                near = place.above if down else place.below
                if not near:
                    return float(own[id(place)]), own[id(place)]
                return sum(at[id(other)] for other in near) / len(near), own[id(place)]

            row.sort(key=middle)


def _place_x(rows: list[list[Place]]) -> None:
    """Place each row below the middle of its neighbours, as near as the widths allow."""
    for row in rows:
        at = 0.0
        for place in row:
            place.x = at + place.width / 2
            at += place.width + GAP_X
    for sweep in range(SWEEPS):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            wished = [_mean([other.x for other in [*place.above, *place.below]], place.x) for place in row]
            for place, x in zip(row, _apart(wished, [place.width for place in row]), strict=True):
                place.x = x


def _mean(values: Sequence[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise


def _apart(wished: Sequence[float], widths: Sequence[float]) -> list[float]:
    """Move wished places apart as little as possible, in their order (pool adjacent violators). Returns the places."""
    offsets, at = list[float](), 0.0
    for n, width in enumerate(widths):
        at += width / 2 + (widths[n - 1] / 2 + GAP_X if n else 0.0)
        offsets.append(at)
    pools: list[tuple[float, int]] = []  # sum and number of what each wishes for the first of them
    for wish, offset in zip(wished, offsets, strict=True):
        total, count = wish - offset, 1
        while pools and pools[-1][0] / pools[-1][1] > total / count:
            more, others = pools.pop()
            total, count = total + more, count + others
        pools.append((total, count))
    starts = [total / count for total, count in pools for _ in range(count)]
    return [start + offset for start, offset in zip(starts, offsets, strict=True)]


def _place_y(rows: list[list[Place]]) -> float:
    """Place rows below each other. Returns the height of all."""
    y = GAP_Y
    for row in rows:
        tallest = max((place.height for place in row), default=0.0)
        for place in row:
            place.y = y + tallest / 2
        y += tallest + GAP_Y
    return y
