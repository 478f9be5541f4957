"""One axis of a plot: its range, where its ticks are, and what they say."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

LARGEST, SMALLEST = 1e300, 1e-290
"""Values are drawn no further out, and told apart no closer, so that spans and steps stay ordinary numbers."""


_UNITS = ((1e12, "T", 1e12), (1e9, "G", 1e9), (1e6, "M", 1e6), (1e3, "k", 1e4))
"""(unit, its letter, from which value on it is used); thousands are written out up to 10,000."""


@dataclass(frozen=True)
class Axis:
    """A range [low, high], low < high, shown evenly or (log, low > 0) by orders of magnitude."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Where `value` lies: 0 at low, 1 at high."""
        if self.log:
            return (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return (value - self.low) / (self.high - self.low)

    def drawable(self, value: float) -> bool:
        """Whether the value is a number that has a place on this kind of axis."""
        return math.isfinite(value) and abs(value) <= LARGEST and (not self.log or value >= SMALLEST)

    def ticks(self, count: int = 6) -> list[tuple[float, str]]:
        """About `count` round values inside the range, with their labels."""
        if self.log:
            values = _log_values(self.low, self.high, count)
            if len(values) >= 2:
                return [(value, _log_label(value)) for value in values]
        step, values = _linear_values(self.low, self.high, count)
        return list(zip(values, _labels(values, step), strict=True))


def fit(values: Iterable[float], *, log: bool = False, margin: float = 0.05, zero: bool = False) -> Axis:
    """The axis that shows all drawable `values` with a margin (a share of the span) on both sides.

    zero: the range includes 0 and has no margin beyond it. Without a drawable value the range is 0 to 1 (log: 1 to 10).
    """
    shown = [v for v in values if math.isfinite(v) and abs(v) <= LARGEST and (not log or v >= SMALLEST)]
    if log:
        if not shown:
            return Axis(1.0, 10.0, log=True)
        low, high = math.log10(min(shown)), math.log10(max(shown))
        pad = margin * (high - low) if high - low > 1e-9 else 0.5
        # Clamped, as numbers end near 1e308 and 1e-308.
        return Axis(10.0 ** max(low - pad, -300.0), 10.0 ** min(high + pad, 307.0), log=True)
    if zero:
        shown.append(0.0)
    if not shown:
        return Axis(0.0, 1.0)
    low, high = min(shown), max(shown)
    if high - low <= max(SMALLEST, 1e-9 * max(abs(low), abs(high))):
        pad = abs(high) * 0.1 if abs(high) > SMALLEST else 1.0
    else:
        pad = (high - low) * margin
    return Axis(
        0.0 if zero and low == 0 and high > 0 else low - pad, 0.0 if zero and high == 0 and low < 0 else high + pad
    )


def _linear_values(low: float, high: float, count: int) -> tuple[float, list[float]]:
    """(step, multiples of it in [low, high]); the step is 1, 2, 2.5 or 5 times a power of ten."""
    rough = (high - low) / max(1, count - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0)), key=lambda s: abs(math.log(s / rough)))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return step, [n * step for n in range(first, min(last, first + 50) + 1)]


def _log_values(low: float, high: float, count: int) -> list[float]:
    """Powers of ten in the range: every second or third of many, with 2 and 5 between where there are few."""
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last - first >= 2:
        return [10.0**p for p in range(first, last + 1, math.ceil((last - first + 1) / max(count, 2)))]
    values = [m * 10.0**p for p in range(first - 1, last + 1) for m in (1.0, 2.0, 5.0)]
    return [v for v in values if low <= v <= high]


def _labels(values: list[float], step: float) -> list[str]:
    """One unit and one number of decimals for the whole axis, so that labels compare at a glance."""
    largest = max((abs(v) for v in values), default=0.0)
    if largest >= 1e15 or 0 < largest < 1e-3:
        return [_scientific(v) for v in values]
    unit, suffix = next(((u, s) for u, s, least in _UNITS if largest >= least and step / u >= 1e-4), (1.0, ""))
    decimals = min(12, max(0, -math.floor(math.log10(step / unit) + 1e-9)))
    if abs(round(step / unit, decimals) - step / unit) > 1e-9 * step / unit:
        decimals += 1  # a step of 2.5 needs one more than its power of ten
    texts = [f"{v / unit:.{decimals}f}" for v in values]
    return [(text.removeprefix("-") if not float(text) else text) + (suffix if float(text) else "") for text in texts]


def _log_label(value: float) -> str:
    if 1e-3 <= value < 1e4:
        return f"{value:g}"
    return _labels([value], value)[0] if 1e4 <= value < 1e15 else _scientific(value)


def _scientific(value: float) -> str:
    """1.5e-4, with no more digits than it needs."""
    mantissa, _, exponent = f"{value:.5e}".partition("e")
    return f"{float(mantissa):g}e{int(exponent)}" if value else "0"
