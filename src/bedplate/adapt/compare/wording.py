"""How a comparison's figures are written: shares, points, money, moments, crossings."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bedplate.adapt.compare.results import Crossing, Share

TRY_AGAIN = (
    "What failed isn't tried again by itself. Make the comparison unfinished, and give the command that made it once "
    "more: what has finished is kept."
)


def percent(share: float) -> str:
    """0.8312 -> 83.1%"""
    return f"{100 * share:.1f}%"


def interval(share: Share) -> str:
    """75.2% to 88.0%"""
    return f"{percent(share.low)} to {percent(share.high)}"


def points(difference: float) -> str:
    """0.021 -> 2.1 points"""
    return f"{100 * difference:.1f} points"


def points_interval(share: Share) -> str:
    """-0.3 to 4.1 points"""
    return f"{100 * share.low:.1f} to {points(share.high)}"


def money(amount: float, currency: str) -> str:
    """Two significant digits, or cents from 1 on: 0.00000031 USD, 0.042 USD, 12.30 USD."""
    if amount == 0:
        return f"0 {currency}"
    if abs(amount) >= 1:
        return f"{amount:,.2f} {currency}"
    digits = 1 - math.floor(math.log10(abs(amount)))
    return f"{amount:.{digits}f} {currency}" if digits <= 10 else f"{amount:.1e} {currency}"


def moment(seconds: float) -> str:
    """A latency: 12 µs, 1.3 ms, 240 ms, 2.1 s"""
    if seconds < 1e-3:
        return f"{1e6 * seconds:.0f} µs"
    if seconds < 1:
        return f"{1e3 * seconds:.3g} ms"
    return f"{seconds:.3g} s"


def rounded(number: int) -> str:
    """About so many: two significant digits, grouped by thousands."""
    size = 10 ** max(0, len(str(abs(number))) - 2)
    return f"{round(number / size) * size:,}"


def crossing(found: Crossing | None) -> str:
    """ "from about 12,000 requests on" ... in a table's cell."""
    if found is None:
        return ""
    match found.cheaper:
        case "from":
            return f"from about {rounded(found.requests or 0)} requests"
        case "until":
            return f"up to about {rounded(found.requests or 0)} requests"
        case "always":
            return "always"
        case "never":
            return "never"
        case _:
            return "costs the same"


def listed(names: Sequence[str]) -> str:
    """a, b and c"""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
