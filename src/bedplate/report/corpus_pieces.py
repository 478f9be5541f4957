"""Small pieces of the tables and texts that show a corpus."""

from __future__ import annotations

from bedplate.report.markup import Markup, escape

_LONGEST_WORD = 24


def bar(kept: float, lost: float) -> Markup:
    """Two shares of a whole, in 0 to 1, as one bar beside the other."""
    parts = "".join(
        f'<div style="width:{100 * share:.2f}%;min-width:2px;background:var(--series-{colour})"></div>'
        for share, colour in ((kept, 1), (lost, 2))
        if share > 0
    )
    style = "display:flex;height:1em;margin-top:.25em;min-width:3.5rem;width:16vw;max-width:15rem"
    return Markup(f'<div style="{style}">{parts}</div>')


def key(colour: int) -> Markup:
    """A small square of a series' colour, for a legend in words."""
    style = f"display:inline-block;width:.8em;height:.8em;background:var(--series-{colour})"
    return Markup(f'<span style="{style}"></span>')


def whole(text: str) -> Markup | str:
    """A table's cell whose words aren't broken on a narrow screen, unless one is too long to be a word."""
    if max(map(len, text.split()), default=0) > _LONGEST_WORD:
        return text
    return Markup(f'<span style="overflow-wrap:break-word">{escape(text)}</span>')


def anywhere(text: str) -> Markup:
    """Text for a heading or the line of a fold, broken within a word rather than wider than the page."""
    return Markup(f'<span style="overflow-wrap:anywhere">{escape(text)}</span>')


def share_text(part: float, whole: float) -> str:
    """A part as "12.3%"; a dash where the whole is nothing."""
    return f"{100 * part / whole:.1f}%" if whole else "–"
