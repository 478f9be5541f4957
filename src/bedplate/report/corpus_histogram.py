"""A small histogram of two kinds of documents over each other, with the bounds of rules drawn in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from bedplate.report.corpus_bins import Bins
from bedplate.report.corpus_notes import Bound
from bedplate.report.markup import Markup, escape
from bedplate.report.plots import _colour, _svg, _text
from bedplate.report.quantities import number_text, prefixed_text

WIDTH, HEIGHT = 264, 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 46.0, 256.0, 18.0, 126.0
_LETTER = 6.7


def histogram(bins: Bins, kept: Sequence[int], lost: Sequence[int], bounds: Sequence[Bound], *, title: str) -> Markup:
    """kept, lost: documents in each bin. Where one bin holds far more than the others, heights are logarithmic, and the
    picture says so."""
    most = max(*kept, *lost, 1)
    log = most > 25 * median([n for n in [*kept, *lost] if n] or [1])
    y_top = number_text(most) if most < 1000 else prefixed_text(most)
    parts = [
        f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y}" y2="{y}" style="stroke:var(--grid,#dfe3e8)"/>'
        for y in (_TOP, _BOTTOM)
    ]
    parts += [_text(_LEFT - 5, _TOP + 4, y_top, anchor="end"), _text(_LEFT - 5, _BOTTOM + 4, "0", anchor="end")]
    if log:
        parts.append(_text(_LEFT - 5, (_TOP + _BOTTOM) / 2 + 4, "log", anchor="end"))
    free = 0.0
    for place, label in bins.ticks:
        x, width = _x(place, bins), _LETTER * len(label)
        anchor = "end" if x + width / 2 > _RIGHT + 6 else "middle"
        begin = x - (width if anchor == "end" else width / 2)
        if begin < free:
            continue
        free = begin + width + 4
        parts.append(f'<line x1="{x}" x2="{x}" y1="{_BOTTOM}" y2="{_BOTTOM + 4}" style="stroke:var(--grid,#dfe3e8)"/>')
        parts.append(_text(x, _BOTTOM + 17, label, anchor=anchor))
    parts += _steps(kept, bins, most, log, 0) + _steps(lost, bins, most, log, 1)
    parts += _bounds(bounds, bins)
    parts += _tips(bins, kept, lost)
    told = f"{sum(kept):,} documents kept{_where(bins, kept)}, {sum(lost):,} left out{_where(bins, lost)}."
    rules = " ".join(f"{bound.rule}: {bound.words}." for bound in bounds)
    return _svg(parts, WIDTH, HEIGHT, title, f"{told} {rules}".strip(), style="min-width:0")


def _x(place: float, bins: Bins) -> float:
    return round(_LEFT + place / bins.count * (_RIGHT - _LEFT), 2)


def _y(count: int, most: int, log: bool) -> float:
    share = math.log1p(count) / math.log1p(most) if log else count / most
    return round(_BOTTOM - share * (_BOTTOM - _TOP), 2)


def _steps(counts: Sequence[int], bins: Bins, most: int, log: bool, colour: int) -> list[str]:
    """The outline of the bars as one shape."""
    if not any(counts):
        return []
    path = [f"M{_x(0, bins)},{_BOTTOM}"]
    for number, count in enumerate(counts):
        # A single document must still be seen.
        y = min(_y(count, most, log), _BOTTOM - 1.5) if count else _BOTTOM
        path.append(f"V{y}H{_x(number + 1, bins)}")
    style = f"fill:{_colour(colour)};fill-opacity:{0.3 if colour == 0 else 0.2};stroke:{_colour(colour)}"
    return [f'<path d="{"".join(path)}V{_BOTTOM}Z" style="{style};stroke-width:1.2"/>']


def _bounds(bounds: Sequence[Bound], bins: Bins) -> list[str]:
    """A line for each, and its value above the frame, or below another's where there is no room."""
    parts: list[str] = []
    taken: list[tuple[float, float]] = []
    edges = [(bound, value, sign) for bound in bounds for value, sign in ((bound.min, "≥"), (bound.max, "≤"))]
    for bound, value, sign in edges:
        if value is None:
            continue
        # Between whole numbers the line stands where the last one inside ends.
        shifted = value + (0.5 if sign == "≤" else -0.5) if bins.whole else value
        x = _x(bins.place(shifted), bins)
        style = "stroke:var(--text,#1c2024);stroke-dasharray:4 3"
        parts.append(f'<line x1="{x}" x2="{x}" y1="{_TOP - 4}" y2="{_BOTTOM}" style="{style}"/>')
        text = f"{sign} {value:,.6g}"
        anchor = "end" if x > (_LEFT + _RIGHT) / 2 else "start"
        begin = x - (_LETTER * len(text) if anchor == "end" else 0)
        span = (begin, begin + _LETTER * len(text))
        line = sum(1 for low, high in taken if low < span[1] and span[0] < high)
        taken.append(span)
        parts.append(_text(x, _TOP - 7 + 13 * line, text, anchor=anchor, tip=f"{bound.rule}: {text}"))
    return parts


def _tips(bins: Bins, kept: Sequence[int], lost: Sequence[int]) -> list[str]:
    parts = []
    for number in range(bins.count):
        if kept[number] or lost[number]:
            x, width = _x(number, bins), round(_x(number + 1, bins) - _x(number, bins), 2)
            told = escape(f"{_span(bins, number)}: {kept[number]:,} kept, {lost[number]:,} left out")
            place = f'x="{x}" y="{_TOP}" width="{width}" height="{_BOTTOM - _TOP}"'
            parts.append(f'<rect {place} style="fill:transparent"><title>{told}</title></rect>')
    return parts


def _span(bins: Bins, number: int) -> str:
    """A bin in words; the outermost hold what lies beyond them too."""
    low, high = bins.edges[number], bins.edges[number + 1]
    if bins.whole:
        first, last = math.ceil(low), math.ceil(high) - 1
        text = f"{first:,}" if first >= last else f"{first:,} to {last:,}"
    else:
        text = f"{number_text(float(low))} to {number_text(float(high))}"
    return text + (" or more" if number == bins.count - 1 else " or less" if number == 0 and low > 0 else "")


def _where(bins: Bins, counts: Sequence[int]) -> str:
    return f", most at {_span(bins, max(range(bins.count), key=lambda n: counts[n]))}" if any(counts) else ""
