"""Where the bins of a histogram begin and end: round numbers, by orders of magnitude where values span several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bedplate.report.axis import Axis

Floats = NDArray[np.float64]

BINS = 32
_MOST_WHOLE = 32
"""Whole numbers of up to so many different values have a bin each."""
_TAIL = 0.002
"""The share of values at either end that doesn't stretch the range: they count in the outermost bin."""
_PER_DECADE = 8


@dataclass(frozen=True)
class Bins:
    """Bin i holds edges[i] <= value < edges[i + 1]; the first and last also what lies beyond them.

    ticks: places on the axis, in bins from the left, with their labels; whole: of whole numbers alone.
    """

    edges: tuple[float, ...]
    ticks: tuple[tuple[float, str], ...]
    whole: bool

    @property
    def count(self) -> int:
        return len(self.edges) - 1

    def counts(self, values: Floats) -> NDArray[np.int64]:
        """How many of the values, none of them NaN, fall in each bin."""
        places = np.searchsorted(np.asarray(self.edges[1:-1]), values, side="right")
        return np.bincount(places, minlength=self.count).astype(np.int64)

    def place(self, value: float) -> float:
        """Where a value lies, in bins from the left, within the axis."""
        if value <= self.edges[0]:
            return 0.0
        for number, (low, high) in enumerate(zip(self.edges, self.edges[1:], strict=False)):
            if value < high:
                return number + (value - low) / (high - low)
        return float(self.count)


def fit_bins(sample: Floats, bounds: Sequence[float], *, whole: bool) -> Bins | None:
    """Bins for a column, out of some of its values and the bounds that rules have on it, which must be seen too; None
    where all values of the sample are the same and no rule is there to be shown."""
    sample = np.sort(sample[np.isfinite(sample)])
    if not len(sample) or (sample[0] == sample[-1] and not bounds):
        return None
    last = len(sample) - 1
    low = min(float(sample[math.floor(last * _TAIL)]), *bounds, math.inf)
    high = max(float(sample[math.ceil(last * (1 - _TAIL))]), *bounds, -math.inf)
    if low == high:
        low, high = (low - 1, high + 1) if whole and low > 0 else (low, high + 1)
    if whole and high - low < _MOST_WHOLE:
        return _each(math.floor(low), math.ceil(high))
    positive = sample[sample > 0]
    if low >= 0 and high > 1 and len(positive) and high > 10 * positive[len(positive) // 2]:
        return _by_magnitude(min(low, float(sample[0])), float(positive[0]), high, whole)
    return _even(low, high, whole)


def _each(low: int, high: int) -> Bins:
    step = max(1, math.ceil((high - low) / 6))
    ticks = tuple((value - low + 0.5, f"{value:,}") for value in range(low, high + 1, step))
    return Bins(tuple(value - 0.5 for value in range(low, high + 2)), ticks, True)


def _even(low: float, high: float, whole: bool) -> Bins:
    rough = (high - low) / BINS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= rough * (1 - 1e-9))
    if whole:
        step = max(1.0, math.ceil(step))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last += last * step <= high and whole
    edges = tuple(float(f"{n * step:.12g}") for n in range(first, max(last, first + 1) + 1))
    axis = Axis(edges[0], edges[-1])
    # Ticks and edges are rounded each in their own way.
    places = [(min(max(axis.place(value), 0.0), 1.0), label) for value, label in axis.ticks(4)]
    ticks = tuple((place * (len(edges) - 1), label) for place, label in places)
    return Bins(tuple(edge - 0.5 for edge in edges) if whole else edges, ticks, whole)


def _by_magnitude(lowest: float, least: float, high: float, whole: bool) -> Bins:
    """Even by logarithm, from the least value above 0 on, and to the left of them one bin for what is lower."""
    begin = 0 if whole else math.floor(math.log10(max(least, high * 1e-6)))
    per_decade = min(_PER_DECADE, max(2, round(BINS / max(1.0, math.log10(high) - begin))))
    end = math.ceil(per_decade * math.log10(high) + 1e-9)
    edges = [10.0 ** (n / per_decade) for n in range(begin * per_decade, max(end, begin * per_decade + 2) + 1)]
    if whole:
        edges = sorted({round(edge) - 0.5 for edge in edges})
    zeros = lowest < edges[0]
    ticks = [(0.5, "less" if lowest else "0")] if zeros else []
    bins = Bins(tuple([min(lowest, 0.0), *edges] if zeros else edges), (), whole)
    powers = range(math.ceil(math.log10(max(edges[0], 1e-12))), math.floor(math.log10(edges[-1])) + 1)
    labels = [(10.0**p, f"{10.0**p:g}" if p < 4 else f"{10 ** (p - 3):,}k") for p in powers]
    apart = max(1, math.ceil(len(labels) / 5))
    ticks += [(bins.place(value) + (0.5 if whole and value < 5 else 0.0), label) for value, label in labels[::apart]]
    return Bins(bins.edges, tuple(ticks), whole)
