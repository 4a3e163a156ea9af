"""A diagram as SVG. Pure."""

from collections.abc import Sequence
from html import escape
from itertools import pairwise

from tertulia.cli.diagram import COLOURS, Arrow, Box, Diagram
from tertulia.cli.layout import Layout, Place, lay_out

MOST_BOXES = 300
"""Boxes of a diagram that can still be looked at."""

_CHARACTER, _LABEL_CHARACTER, _LINE = 8.2, 6.6, 15.0
_LABEL_COLUMNS, _NAME_CHARS = 26, 40
_TITLE = 30.0


def svg(diagram: Diagram) -> str:
    """Draw a diagram. Return the text of the SVG file."""
    labels = [_wrapped(arrow.label) for arrow in diagram.arrows]
    first = sorted(diagram.boxes, key=lambda box: not box.is_first)
    layout = lay_out(
        {box.name: (max(90.0, _CHARACTER * len(_shown(box)) + 28), 46.0) for box in first},
        [(a.source, a.target, _label_size(lines)) for a, lines in zip(diagram.arrows, labels, strict=True)],
    )
    width = max(layout.width, _CHARACTER * len(diagram.title) + 40)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{layout.height + _TITLE:.0f}" '
        f'viewBox="0 {-_TITLE:.0f} {width:.0f} {layout.height + _TITLE:.0f}" font-family="sans-serif" font-size="13">',
        f"<title>{escape(diagram.title)}</title>",
        '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#555"/></marker></defs>',
        f'<rect y="{-_TITLE:.0f}" width="100%" height="100%" fill="#fff"/>',
        f'<text x="20" y="-8" font-size="14" fill="#333">{escape(diagram.title)}</text>',
        *(_line(arrow, way) for arrow, way in zip(diagram.arrows, layout.lines, strict=True)),
        *(_label(lines, place) for lines, place in zip(labels, layout.labels, strict=True)),
        *(_box(box, layout) for box in diagram.boxes),
        "</svg>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _shown(box: Box) -> str:
    return box.name if len(box.name) <= _NAME_CHARS else f"{box.name[: _NAME_CHARS - 1]}…"


def _wrapped(text: str) -> list[str]:
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + len(word) < _LABEL_COLUMNS:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _label_size(lines: Sequence[str]) -> tuple[float, float]:
    return (_LABEL_CHARACTER * max(map(len, lines)) + 6, _LINE * len(lines)) if lines else (0.0, 0.0)


def _line(arrow: Arrow, way: Sequence[Place]) -> str:
    first, last = way[0], way[-1]
    down = 1 if last.y > first.y else -1
    points = [
        (first.x, first.y + down * first.height / 2),
        *((place.x, place.y) for place in way[1:-1]),
        (last.x, last.y - down * last.height / 2),
    ]
    dashes = ' stroke-dasharray="5 4"' if arrow.returns else ""
    return f'<path d="{_curve(points)}" fill="none" stroke="#555"{dashes} marker-end="url(#end)"/>'


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """Draw a smooth line through points, upright at both ends. Returns the commands of an SVG path."""
    bends = [(after[0] - before[0]) / (after[1] - before[1]) for before, after in zip(points, points[2:], strict=False)]
    slopes = [0.0, *bends, 0.0]
    path = f"M{points[0][0]:.1f} {points[0][1]:.1f}"
    for ((x, y), slope), ((to_x, to_y), to_slope) in pairwise(zip(points, slopes, strict=True)):
        third = (to_y - y) / 3
        path += (
            f" C{x + slope * third:.1f} {y + third:.1f} {to_x - to_slope * third:.1f} {to_y - third:.1f}"
            f" {to_x:.1f} {to_y:.1f}"
        )
    return path


def _label(lines: Sequence[str], place: Place) -> str:
    if not lines:
        return ""
    top = place.y - place.height / 2
    rows = "".join(
        f'<tspan x="{place.x:.1f}" y="{top + _LINE * n + 11:.1f}">{escape(line)}</tspan>'
        for n, line in enumerate(lines)
    )
    return (
        f'<rect x="{place.x - place.width / 2:.1f}" y="{top:.1f}" width="{place.width:.1f}" '
        f'height="{place.height:.1f}" fill="#fff" fill-opacity="0.9"/>'
        f'<text text-anchor="middle" font-size="12" fill="#444">{rows}</text>'
    )


def _box(box: Box, layout: Layout) -> str:
    place = layout.boxes[box.name]
    fill, edge = COLOURS[box.kind]
    left, top = place.x - place.width / 2, place.y - place.height / 2
    radius = 4 if box.kind == "action" else 20
    style = f'fill="{fill}" stroke="{edge}"' + (' stroke-dasharray="5 4"' if box.kind == "graph" else "")
    outer = f'<rect x="{left:.1f}" y="{top:.1f}" width="{place.width:.1f}" height="{place.height:.1f}" rx="{radius}" '
    inner = ""
    if box.is_last:
        inner = (
            f'<rect x="{left + 4:.1f}" y="{top + 4:.1f}" width="{place.width - 8:.1f}" '
            f'height="{place.height - 8:.1f}" rx="{radius - 2}" fill="none" stroke="{edge}"/>'
        )
    what = box.kind if not box.is_first else f"{box.kind}, begins"
    return (
        f'<g><title>{escape(box.note)}</title>{outer}{style} stroke-width="{3 if box.is_first else 1.5}"/>{inner}'
        f'<text x="{place.x:.1f}" y="{place.y - 1:.1f}" text-anchor="middle" font-weight="bold">'
        f'{escape(_shown(box))}</text><text x="{place.x:.1f}" y="{place.y + 14:.1f}" text-anchor="middle" '
        f'font-size="10" fill="#555">{what}</text></g>'
    )
