"""A scatter plot of named points with error bars: what each costs against how good it is.

Names stand beside their points and never on each other: each goes to the nearest free place, with a thin line to its
point where that isn't beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bedplate.report.axis import fit
from bedplate.report.markup import Markup, escape
from bedplate.report.plots import _axis_names, _colour, _Frame, _grid, _shorten, _svg, _text
from bedplate.report.quantities import number_text

LETTER = 6.7
"""Width of a letter of 12-pixel type, on average and rounded up; names are made room for by it."""
LINE = 14
RADIUS = 5.0
RING = 9.0
COLUMN = 24
LONGEST_NAME = 34


@dataclass(frozen=True)
class Point:
    """One thing at (x, y), with the interval [low, high] of y where both are given.

    kind: which series it belongs to, shown by colour and in the legend. emphasis: the one that is spoken of.
    """

    name: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    kind: str = ""
    emphasis: bool = False


def scatter_plot(
    points: Sequence[Point],
    *,
    title: str,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    width: int = 760,
    height: int = 440,
) -> Markup:
    """The points in one frame with ticks, names, error bars and a legend of their kinds.

    What can't be drawn (NaN, infinities, zero or less on a logarithmic axis) is left out, and the description says so.
    """
    x_axis = fit((p.x for p in points), log=log_x, margin=0.08)
    y_axis = fit(v for p in points for v in (p.y, p.low, p.high) if v is not None)
    x_ticks, y_ticks = x_axis.ticks(7), y_axis.ticks(6)
    kinds = list(dict.fromkeys(p.kind for p in points if p.kind))
    legend_height = 24 if len(kinds) > 1 else 0
    left = 44 + 7 * max((len(label) for _, label in y_ticks), default=1)
    frame = _Frame(left, 12 + legend_height, width - 18, height - 46, x_axis, y_axis)
    parts = [*_grid(frame, x_ticks, y_ticks), *_axis_names(frame, x_label, y_label, height)]
    if legend_height:
        parts += _kinds(kinds)
    shown = [p for p in points if frame.holds(p.x, p.y)]
    for point in shown:
        parts += _error_bar(frame, point)
    boxes = _places(frame, shown)
    for number, box in enumerate(boxes):
        parts += _leader(frame, shown, number, box)
    for point in shown:
        parts += _mark(frame, point, kinds, x_label)
    for point, box in zip(shown, boxes, strict=True):
        weight = ' font-weight="700"' if point.emphasis else ""
        parts.append(
            _text(box.left + 2, box.top + 11, _shorten(point.name, LONGEST_NAME), extra=weight, tip=point.name)
        )
    if not shown:
        middle, centre = (frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2
        parts.append(_text(middle, centre, "nothing to draw", anchor="middle"))
    told = [f"{p.name}: {number_text(p.y)}{_interval(p)} at {number_text(p.x)}." for p in shown]
    if len(shown) < len(points):
        told.append(f"{len(points) - len(shown)} points can't be drawn.")
    return _svg(parts, width, height, title, f"{y_label} against {x_label}. " + " ".join(told))


@dataclass(frozen=True)
class _Box:
    """A rectangle in SVG units."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: _Box) -> float:
        wide = min(self.right, other.right) - max(self.left, other.left)
        high = min(self.bottom, other.bottom) - max(self.top, other.top)
        return wide * high if wide > 0 and high > 0 else 0.0

    def nearest(self, x: float, y: float) -> tuple[float, float]:
        """The place in the rectangle that is nearest to (x, y)."""
        return min(max(x, self.left), self.right), min(max(y, self.top), self.bottom)

    def distance(self, x: float, y: float) -> float:
        near_x, near_y = self.nearest(x, y)
        return math.hypot(near_x - x, near_y - y)

    def within(self, other: _Box) -> bool:
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.top >= other.top
            and self.bottom <= other.bottom
        )


def _places(frame: _Frame, points: Sequence[Point]) -> list[_Box]:
    """A free rectangle for each name: as near as can be, clear of points and names, nearer to its own point than to any
    other and clear of error bars if possible."""
    inside = _Box(frame.left, frame.top, frame.right, frame.bottom)
    bars = [_bar_box(frame, p) for p in points if p.low is not None and p.high is not None]
    taken: list[_Box] = []
    for own, point in enumerate(points):
        x, y = frame.x(point.x), frame.y(point.y)
        width = LETTER * min(len(point.name), LONGEST_NAME) + 4
        obstacles = [*taken, *(_around(frame.x(p.x), frame.y(p.y), _reach(p) + 2) for p in points)]

        def cost(candidate: tuple[float, _Box], own: int = own, obstacles: list[_Box] = obstacles) -> float:
            far, box = candidate
            if not box.within(inside):
                return 10_000 + far
            covered = sum(box.overlap(other) for other in obstacles)
            crossed = sum(1 for bar in bars if box.overlap(bar))
            return far + 12 * crossed + 1000 * covered + (0 if _nearest(frame, points, box) == own else 10)

        best = min(_beside(x, y, width, _reach(point)), key=cost)
        if cost(best) >= 1000:  # a crowd, or a corner: wherever there is room
            best = min(_anywhere(inside, x, y, width), key=cost)
        taken.append(best[1])
    return taken


def _beside(x: float, y: float, width: float, reach: float) -> list[tuple[float, _Box]]:
    """(how far from beside the point, a rectangle for the name): to the right first, then around it, then further."""
    found = []
    for step, distance in enumerate((4, 11, 21, 33, 47, 63, 81, 101)):
        for turn, angle in enumerate((0, 180, 30, -30, 150, -150, 60, -60, 120, -120, 90, -90)):
            across, down = math.cos(math.radians(angle)), -math.sin(math.radians(angle))
            middle_x, middle_y = x + across * (reach + distance), y + down * (reach + distance)
            left = middle_x - width * (1 - across) / 2
            top = middle_y - LINE / 2 + down * LINE / 2
            found.append((4.0 * step + 0.2 * turn, _Box(left, top, left + width, top + LINE)))
    return found


def _anywhere(inside: _Box, x: float, y: float, width: float) -> list[tuple[float, _Box]]:
    """Rectangles all over the frame, by their distance from the point."""
    rows = range(int((inside.bottom - inside.top) // LINE))
    columns = range(max(1, int((inside.right - inside.left - width) // COLUMN) + 1))
    found = []
    for left in (inside.left + COLUMN * column for column in columns):
        for top in (inside.top + LINE * row for row in rows):
            box = _Box(left, top, left + width, top + LINE)
            found.append((box.distance(x, y), box))
    return found


def _nearest(frame: _Frame, points: Sequence[Point], box: _Box) -> int:
    """Which point a reader would take the name in `box` for."""
    return min(range(len(points)), key=lambda i: box.distance(frame.x(points[i].x), frame.y(points[i].y)))


def _reach(point: Point) -> float:
    """How far the point's mark goes from its middle."""
    return RING if point.emphasis else RADIUS


def _around(x: float, y: float, radius: float) -> _Box:
    return _Box(x - radius, y - radius, x + radius, y + radius)


def _bar_box(frame: _Frame, point: Point) -> _Box:
    x = frame.x(point.x)
    return _Box(x - 2, frame.y(point.high or point.y), x + 2, frame.y(point.low or point.y))


def _error_bar(frame: _Frame, point: Point) -> list[str]:
    if point.low is None or point.high is None:
        return []
    if not (frame.y_axis.drawable(point.low) and frame.y_axis.drawable(point.high)):
        return []
    x, low, high = frame.x(point.x), frame.y(point.low), frame.y(point.high)
    style = 'style="stroke:var(--muted,#5b6470);stroke-width:1.2"'
    ends = "".join(f'<line x1="{x - 4}" x2="{x + 4}" y1="{y}" y2="{y}" {style}/>' for y in (low, high))
    return [f'<line x1="{x}" x2="{x}" y1="{low}" y2="{high}" {style}/>{ends}']


def _leader(frame: _Frame, points: Sequence[Point], number: int, box: _Box) -> list[str]:
    """A line from a point to its name, where that stands apart or nearer to another point."""
    point = points[number]
    x, y = frame.x(point.x), frame.y(point.y)
    if box.distance(x, y) <= _reach(point) + 10 and _nearest(frame, points, box) == number:
        return []
    near_x, near_y = box.nearest(x, y)
    style = 'style="stroke:var(--muted,#5b6470);stroke-width:0.7"'
    return [f'<line x1="{x}" y1="{y}" x2="{near_x:.1f}" y2="{near_y:.1f}" {style}/>']


def _mark(frame: _Frame, point: Point, kinds: Sequence[str], x_label: str) -> list[str]:
    x, y = frame.x(point.x), frame.y(point.y)
    colour = _colour(kinds.index(point.kind) if point.kind else 0)
    text = f"{point.name}: {number_text(point.y)}{_interval(point)} at {x_label} {number_text(point.x)}"
    tip = f"<title>{escape(text)}</title>"
    ring = f'<circle cx="{x}" cy="{y}" r="{RING}" style="fill:none;stroke:{colour};stroke-width:2"/>'
    return [
        *([ring] if point.emphasis else []),
        f'<circle cx="{x}" cy="{y}" r="{RADIUS}" style="fill:{colour}">{tip}</circle>',
    ]


def _kinds(kinds: Sequence[str]) -> list[str]:
    parts, x = [], 20.0
    for number, kind in enumerate(kinds):
        parts.append(f'<circle cx="{x}" cy="16" r="{RADIUS}" style="fill:{_colour(number)}"/>')
        parts.append(_text(x + 10, 20, kind))
        x += 24 + LETTER * len(kind) + 14
    return parts


def _interval(point: Point) -> str:
    if point.low is None or point.high is None:
        return ""
    return f" ({number_text(point.low)} to {number_text(point.high)})"
