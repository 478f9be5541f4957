"""How quantities are written for people: bytes, durations, counts, named figures."""

from __future__ import annotations


def amount(value: float, unit: str = "") -> str:
    """`12.3 MB` for bytes ("B"), `1,234 documents` otherwise."""
    if unit == "B":
        return bytes_text(value)
    number = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
    return f"{number} {unit}".rstrip()


def bytes_text(value: float) -> str:
    """Bytes in decimal units: `999 B`, `1.2 kB`, `3.4 GB`."""
    if round(abs(value)) < 1000:
        return f"{value:.0f} B"
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if round(abs(value), 1) < 1000:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def duration(seconds: float) -> str:
    """`4.2 s`, `42 s`, `3:07` (minutes), `2:03:07` (hours), `3 days 4:00:00`."""
    if round(seconds, 1) < 10:
        return f"{seconds:.1f} s"
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    text = f"{hours}:{minutes:02}:{rest:02}" if hours or days else f"{minutes}:{rest:02}"
    return f"{days} day{'s' if days > 1 else ''} {text}" if days else text


def field_text(name: str, value: object) -> str:
    """`loss 2.312`: a figure beside a progress bar."""
    return f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
