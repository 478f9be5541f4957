"""Plain numbers as people read them in tables and plots. (Bytes and durations: `console.figures`.)"""

from __future__ import annotations

import math

_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def number_text(value: float) -> str:
    """A figure in four significant digits; whole numbers in full, grouped by thousands; yes or no for a truth value."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else "-∞"
    if value.is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.1f}" if 1000 <= abs(value) < 1e6 else f"{value:.4g}"


def prefixed_text(value: float, unit: str = "") -> str:
    """1234567 -> "1.23 M"; with a unit "1.23 MFLOP". Three significant digits."""
    if not math.isfinite(value):
        return number_text(value)
    size, prefix = float(value), 0
    while abs(size) >= 999.5 and prefix < len(_PREFIXES) - 1:
        size, prefix = size / 1000, prefix + 1
    return f"{size:.3g} {_PREFIXES[prefix]}{unit}".rstrip()
