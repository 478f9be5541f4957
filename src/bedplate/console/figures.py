"""How text and quantities are written for people: harmless, and as bytes, durations, counts, named figures."""

from __future__ import annotations

# A name or a document could move the cursor, retitle the window or, with characters that reorder the text around them,
# pose as another (CVE-2021-42574); and what of a file's name isn't text can't be written at all. Control characters are
# shown by their pictures, what has none as U+FFFD.
_REORDERING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
_VISIBLE = (
    {code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"}
    | {0x7F: 0x2421}
    | dict.fromkeys((*range(0x80, 0xA0), *_REORDERING, *range(0xD800, 0xE000)), 0xFFFD)
)


def visible(text: str) -> str:
    """`text` as a terminal may be given it: what would be obeyed instead of shown is made visible."""
    return text.translate(_VISIBLE)


def amount(value: float, unit: str = "") -> str:
    """`12.3 MB` for bytes ("B"), `1,234 documents` otherwise."""
    if unit == "B":
        return bytes_text(value)
    number = f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"
    return f"{number} {unit}".rstrip()


def counted(number: int, noun: str) -> str:
    """`1 document`, `1,234 documents`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


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
