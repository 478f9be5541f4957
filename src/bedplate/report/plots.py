"""Line plots and bar plots as SVG, made from plain numbers.

Colours are CSS variables with a fallback, so the same picture fits a light page, a dark one, paper, and a bare .svg
file. Each picture says in words what it shows (its label and `<desc>`), and each point tells its values when pointed
at. What can't be drawn (NaN, infinities, zero or less on a logarithmic axis) leaves a gap and is counted in the
description.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

from bedplate.report.axis import Axis, fit
from bedplate.report.markup import Markup, escape
from bedplate.report.quantities import number_text

COLOURS = ("#0b62c4", "#c4500b", "#1a7f5a", "#a0338f", "#8a6d00", "#5b6470")
"""Fallbacks of the CSS variables --series-1 ... --series-6; series beyond the sixth are dashed and begin again."""

MOST_POINTS = 800
MOST_TIPS = 160
"""Points drawn and points with a tooltip, each series: a page of a million steps must still open at once."""


@dataclass(frozen=True)
class Series:
    """One line: points (x[i], y[i]) joined in order. `low` and `high`, of the same length, draw a band around it."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    marks: bool = False
    """Draw a dot at each point: for few points, such as validations."""

    def __post_init__(self) -> None:
        lengths = {len(values) for values in (self.x, self.y, self.low, self.high) if values is not None}
        if len(lengths) != 1 or (self.low is None) != (self.high is None):
            raise ValueError(f"series {self.name!r}: x, y, low and high need the same length, low and high each other")


@dataclass(frozen=True)
class Bar:
    """One bar from 0 to `value`, with an interval [low, high] drawn over its end where both are given."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    emphasis: bool = False
    """Drawn in the strong colour: ours among others, say."""


def line_plot(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    log_y: bool = False,
    width: int = 760,
    height: int = 320,
) -> Markup:
    """The series in one frame with ticks, a legend where there are several, and tooltips."""  # fmt: skip
    thinned = [_thin(s) for s in series]
    x_axis = fit((v for s in thinned for v in s.x), log=log_x, margin=0.02)
    y_axis = fit((v for s in thinned for column in (s.y, s.low or (), s.high or ()) for v in column), log=log_y)
    x_ticks, y_ticks = x_axis.ticks(8), y_axis.ticks(6)
    legend, legend_height = _legend([s.name for s in series], width - 32) if len(series) > 1 else ([], 0)
    left = 44 + 7 * max((len(label) for _, label in y_ticks), default=1)
    frame = _Frame(left, 12 + legend_height, width - 18, height - 46, x_axis, y_axis)
    parts = [*legend, *_grid(frame, x_ticks, y_ticks), *_axis_names(frame, x_label, y_label, height)]
    for number, s in enumerate(thinned):
        parts += _band(frame, s, number) + _line(frame, s, number)
    shown = sum(1 for s in thinned for x, y in zip(s.x, s.y, strict=True) if frame.holds(x, y))
    if not shown:
        middle, centre = (frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2
        parts.append(_text(middle, centre, "nothing to draw", anchor="middle"))
    # Tips last, so that they lie above every line.
    for s in thinned:
        parts += _tips(frame, s, x_label)
    return _svg(parts, width, height, title, " ".join(_describe(s, x_axis, y_axis) for s in series) or "No series.")


def bar_plot(bars: Sequence[Bar], *, title: str, value_label: str, width: int = 760) -> Markup:
    """Horizontal bars, one below the other as given, with their values written beside them."""
    names = [_shorten(bar.name, 40) for bar in bars]
    left = 24 + 7 * max((len(name) for name in names), default=1)
    ends = (v for bar in bars for v in (bar.value, bar.low, bar.high) if v is not None)
    axis = fit(ends, zero=True)
    row = 30
    height = 12 + row * max(1, len(bars)) + 46
    written = [number_text(float(bar.value)) + _interval_text(bar) for bar in bars]
    right = width - 24 - 7 * max((len(text) for text in written), default=1)
    frame = _Frame(left, 12, max(right, left + 60), height - 46, axis, Axis(0, 1))
    parts = _grid(frame, axis.ticks(5), [])
    parts.append(_text((frame.left + frame.right) / 2, height - 8, value_label, anchor="middle"))
    for number, (bar, name) in enumerate(zip(bars, names, strict=True)):
        middle = frame.top + row * (number + 0.5)
        parts.append(_text(left - 8, middle + 4, name, anchor="end", tip=bar.name))
        parts += _bar(frame, bar, middle, written[number])
    if not bars:
        parts.append(_text((frame.left + frame.right) / 2, frame.top + row / 2, "nothing to draw", anchor="middle"))
    told = [f"{bar.name}: {text}." for bar, text in zip(bars, written, strict=True)]
    return _svg(parts, width, height, title, f"{value_label}. " + " ".join(told))


@dataclass(frozen=True)
class _Frame:
    """The rectangle that data is drawn in, in SVG units, and its two axes."""

    left: float
    top: float
    right: float
    bottom: float
    x_axis: Axis
    y_axis: Axis

    def holds(self, x: float, y: float) -> bool:
        return self.x_axis.drawable(x) and self.y_axis.drawable(y)

    def x(self, value: float) -> float:
        return round(self.left + self.x_axis.place(value) * (self.right - self.left), 2)

    def y(self, value: float) -> float:
        return round(self.bottom - self.y_axis.place(value) * (self.bottom - self.top), 2)


def _colour(number: int) -> str:
    slot = number % len(COLOURS)
    return f"var(--series-{slot + 1},{COLOURS[slot]})"


def _dash(number: int) -> str:
    return ' stroke-dasharray="6 4"' if number >= len(COLOURS) else ""


def _text(x: float, y: float, text: str, *, anchor: str = "start", extra: str = "", tip: str | None = None) -> str:
    title = f"<title>{escape(tip)}</title>" if tip is not None and tip != text else ""
    style = "fill:var(--muted,#5b6470)"
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="{style}"{extra}>{title}{escape(text)}</text>'


def _grid(frame: _Frame, x_ticks: list[tuple[float, str]], y_ticks: list[tuple[float, str]]) -> list[str]:
    line = 'style="stroke:var(--grid,#dfe3e8)"'
    parts = []
    for value, label in y_ticks:
        y = frame.y(value)
        parts.append(f'<line x1="{frame.left}" x2="{frame.right}" y1="{y}" y2="{y}" {line}/>')
        parts.append(_text(frame.left - 8, y + 4, label, anchor="end"))
    for value, label in x_ticks:
        x = frame.x(value)
        parts.append(f'<line x1="{x}" x2="{x}" y1="{frame.top}" y2="{frame.bottom}" {line}/>')
        parts.append(_text(x, frame.bottom + 17, label, anchor="middle"))
    return parts


def _axis_names(frame: _Frame, x_label: str, y_label: str, height: int) -> list[str]:
    middle = (frame.top + frame.bottom) / 2
    turned = f' transform="rotate(-90 14 {middle:.1f})"'
    return [
        _text((frame.left + frame.right) / 2, height - 8, x_label, anchor="middle"),
        _text(14, middle, y_label, anchor="middle", extra=turned),
    ]


def _legend(names: Sequence[str], width: float) -> tuple[list[str], int]:
    """(the elements, their height); names wrap into as many rows as they need."""
    parts, x, row = [], 16.0, 0
    for number, name in enumerate(names):
        short = _shorten(name, 48)
        needed = 34 + 7 * len(short) + 14
        if x > 16 and x + needed > width:
            x, row = 16.0, row + 1
        y = 16 + 20 * row
        stroke = f'style="stroke:{_colour(number)};stroke-width:2.5"'
        parts.append(f'<line x1="{x}" x2="{x + 24}" y1="{y}" y2="{y}" {stroke}{_dash(number)}/>')
        parts.append(_text(x + 30, y + 4, short, tip=name))
        x += needed
    return parts, 20 * (row + 1)


def _line(frame: _Frame, series: Series, number: int) -> list[str]:
    """The joined points: a gap wherever one can't be drawn, a dot where one stands alone or dots are asked for."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in zip(series.x, series.y, strict=True):
        if frame.holds(x, y):
            runs[-1].append((frame.x(x), frame.y(y)))
        elif runs[-1]:
            runs.append([])
    parts = []
    style = f'style="fill:none;stroke:{_colour(number)};stroke-width:1.8;stroke-linejoin:round"{_dash(number)}'
    for run in runs:
        if len(run) > 1:
            parts.append(f'<polyline points="{" ".join(f"{x},{y}" for x, y in run)}" {style}/>')
        if series.marks or len(run) == 1:
            parts += [f'<circle cx="{x}" cy="{y}" r="3.2" style="fill:{_colour(number)}"/>' for x, y in run]
    return parts


def _band(frame: _Frame, series: Series, number: int) -> list[str]:
    if series.low is None or series.high is None:
        return []
    parts: list[str] = []
    edge: list[tuple[float, float, float]] = []
    for x, low, high in [*zip(series.x, series.low, series.high, strict=True), (math.nan, math.nan, math.nan)]:
        if frame.holds(x, low) and frame.holds(x, high):
            edge.append((frame.x(x), frame.y(low), frame.y(high)))
            continue
        if len(edge) > 1:
            outline = [(x, high) for x, _, high in edge] + [(x, low) for x, low, _ in reversed(edge)]
            points = " ".join(f"{x},{y}" for x, y in outline)
            parts.append(f'<polygon points="{points}" style="fill:{_colour(number)};opacity:0.18"/>')
        edge = []
    return parts


def _tips(frame: _Frame, series: Series, x_label: str) -> list[str]:
    """Unseen discs that tell a point's values when the pointer rests on them."""
    points = [i for i, (x, y) in enumerate(zip(series.x, series.y, strict=True)) if frame.holds(x, y)]
    parts = []
    for i in points[:: math.ceil(len(points) / MOST_TIPS) or 1]:
        x, y = float(series.x[i]), float(series.y[i])
        text = f"{series.name}: {number_text(y)} at {x_label} {number_text(x)}"
        if series.low is not None and series.high is not None:
            text += f" ({number_text(float(series.low[i]))} to {number_text(float(series.high[i]))})"
        title = f"<title>{escape(text)}</title>"
        parts.append(f'<circle cx="{frame.x(x)}" cy="{frame.y(y)}" r="7" style="fill:transparent">{title}</circle>')
    return parts


def _bar(frame: _Frame, bar: Bar, middle: float, written: str) -> list[str]:
    parts = []
    end = frame.right
    if frame.x_axis.drawable(bar.value):
        start, end = sorted((frame.x(0.0), frame.x(bar.value)))
        colour = _colour(0) if bar.emphasis else "var(--bar,#9db4cc)"
        tip = f"<title>{escape(f'{bar.name}: {written}')}</title>"
        parts.append(
            f'<rect x="{start}" y="{middle - 9:.1f}" width="{max(1.0, round(end - start, 2))}" height="18" rx="2" '
            f'style="fill:{colour}">{tip}</rect>'
        )
    if (
        bar.low is not None
        and bar.high is not None
        and frame.x_axis.drawable(bar.low)
        and frame.x_axis.drawable(bar.high)
    ):
        low, high = frame.x(bar.low), frame.x(bar.high)
        style = 'style="stroke:var(--text,#1c2024);stroke-width:1.5"'
        parts.append(f'<line x1="{low}" x2="{high}" y1="{middle:.1f}" y2="{middle:.1f}" {style}/>')
        for x in (low, high):
            parts.append(f'<line x1="{x}" x2="{x}" y1="{middle - 5:.1f}" y2="{middle + 5:.1f}" {style}/>')
    parts.append(_text(frame.right + 8, middle + 4, written))
    return parts


def _interval_text(bar: Bar) -> str:
    if bar.low is None or bar.high is None:
        return ""
    return f" ({number_text(float(bar.low))} to {number_text(float(bar.high))})"


def _thin(series: Series) -> Series:
    """At most `MOST_POINTS` points: of each stretch the first, the least and the greatest, so that no spike is lost."""
    count = len(series.x)
    if count <= MOST_POINTS:
        return series
    stretches = MOST_POINTS // 4
    kept: list[int] = []
    for number in range(stretches):
        stretch = range(number * count // stretches, (number + 1) * count // stretches)
        finite = [i for i in stretch if math.isfinite(series.y[i])]
        if finite:
            least, greatest = min(finite, key=lambda i: series.y[i]), max(finite, key=lambda i: series.y[i])
            kept += sorted({finite[0], least, greatest})
        else:
            kept.append(stretch[0])  # keeps the gap
    if kept[-1] != count - 1:
        kept.append(count - 1)

    def pick(values: Sequence[float] | None) -> list[float] | None:
        return None if values is None else [values[i] for i in kept]

    return Series(
        series.name, pick(series.x) or [], pick(series.y) or [], pick(series.low), pick(series.high), series.marks
    )


def _describe(series: Series, x_axis: Axis, y_axis: Axis) -> str:
    """The line in words, for those who can't see it."""
    shown = [
        (float(x), float(y))
        for x, y in zip(series.x, series.y, strict=True)
        if x_axis.drawable(x) and y_axis.drawable(y)
    ]
    left_out = len(series.x) - len(shown)
    gap = f" {left_out} points can't be drawn." if left_out else ""
    if not shown:
        return f"{series.name}: no points.{gap}"
    values = [y for _, y in shown]
    (x0, y0), (x1, y1) = shown[0], shown[-1]
    return (
        f"{series.name}: {len(shown)} points, from {number_text(y0)} at {number_text(x0)} to {number_text(y1)} at "
        f"{number_text(x1)}; lowest {number_text(min(values))}, highest {number_text(max(values))}.{gap}"
    )


def _shorten(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _svg(parts: Sequence[str], width: float, height: float, title: str, description: str, *, style: str = "") -> Markup:
    # Ids must differ between the pictures of a page and be the same from run to run.
    name = "plot-" + hashlib.sha256("\0".join([title, description, *parts]).encode("utf-8", "replace")).hexdigest()[:12]
    look = f' style="{style}"' if style else ""
    return Markup(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img"{look} '
        f'aria-label="{escape(title)}" aria-describedby="{name}" font-family="system-ui, sans-serif" font-size="12">'
        f'<desc id="{name}">{escape(description)}</desc>'
        f"{''.join(parts)}</svg>"
    )
