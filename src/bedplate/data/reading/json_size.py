"""JSON that is held whole, and what it may come to: a file of "{}" many times takes up thirty times its size."""

from __future__ import annotations

LARGEST_JSON = 32 << 20
MOST_MEMORY = 512 << 20
# Bytes that CPython takes for an empty object or array with the place that it has in another, and for a small value.
_CONTAINER, _ENTRY = 80, 48
_OBJECT = 200


def check_json(data: bytes) -> str | None:
    """Why it would take too much memory to parse, by a count of its signs; None: it won't."""
    needed = (
        _OBJECT * data.count(b":") // 2 + _CONTAINER * (data.count(b"{") + data.count(b"[")) + _ENTRY * data.count(b",")
    )
    if needed <= MOST_MEMORY:
        return None
    return f"it would take about {needed >> 20:,} MB to parse its {len(data):,} bytes"
