"""What was measured of a corpus: a small histogram of each column of numbers, by family, and its figures."""

from __future__ import annotations

from collections.abc import Sequence

from bedplate.report.corpus_groups import PERSONAL
from bedplate.report.corpus_histogram import histogram
from bedplate.report.corpus_pieces import anywhere, key
from bedplate.report.corpus_scan import Column, Scan
from bedplate.report.markup import Markup, escape
from bedplate.report.measures import readable
from bedplate.report.page import Cell, Page

MOST_HISTOGRAMS = 40
OTHERS = "other columns"
_CELL = "display:flex;flex-direction:column;justify-content:space-between;min-width:0;overflow-wrap:anywhere"
_GRID = "display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,15rem),1fr));gap:1.25rem 1rem"


def add_signals(page: Page, scan: Scan) -> None:
    """Families with a rule on one of their columns are open, the others folded."""
    columns = [c for name, c in scan.numbers.items() if not name.startswith(PERSONAL) and _measured(c)]
    if not columns:
        return
    page.heading("What was measured")
    drawn = _chosen(columns)
    page.text(
        Markup(
            f"{key(1)} kept and {key(2)} left out, one over the other; dashed lines are the bounds of rules. The "
            "outermost bars hold what lies further out, too; where it says log, heights are logarithmic."
        )
    )
    if scan.sampled:
        page.text("Every document is counted; where bins begin and end comes from a sample.")
    families = list(dict.fromkeys(column.note.family or OTHERS for column in drawn))
    for family in sorted(families, key=lambda name: name == OTHERS):
        mine = [column for column in drawn if (column.note.family or OTHERS) == family]
        picture = _grid(mine)
        if any(column.note.bounds for column in mine) or len(families) == 1:
            page.heading(anywhere(readable(family)), level=3)
            page.figure(picture)
        else:
            inside = Page("")
            inside.figure(picture)
            page.fold(anywhere(f"{readable(family)}: {', '.join(readable(column.name) for column in mine)}"), inside)
    same = [column for column in columns if column.same and column not in drawn]
    if same:
        page.text("The same in all documents: " + "; ".join(map(_value, same)) + ".")
    rest = [column.name for column in columns if column not in drawn and column not in same]
    if rest:
        page.text(f"Not drawn: {', '.join(map(readable, rest))}.")
    inside = Page("")
    inside.table(
        ["column", "kept: mean", "least", "greatest", "left out: mean", "not measured", "says"], _rows(columns)
    )
    page.fold("All columns in figures", inside)


def _measured(column: Column) -> bool:
    return any(figures.documents for figures in column.sides.values())


def _chosen(columns: Sequence[Column]) -> list[Column]:
    """Those with bounds before the others, those of a family next, and no more than fit a page; in their own order."""
    able = [column for column in columns if column.bins is not None and (column.note.bounds or not column.same)]
    first = sorted(able, key=lambda column: (not column.note.bounds, not column.note.family))[:MOST_HISTOGRAMS]
    return [column for column in able if column in first]


def _grid(columns: Sequence[Column]) -> Markup:
    cells = []
    for column in columns:
        if column.bins is None:
            continue
        kept, lost = (column.sides[side].counts.tolist() for side in ("kept", "left out"))
        picture = histogram(column.bins, kept, lost, column.note.bounds, title=readable(column.name))
        words = f'<div class="note">{escape(column.note.description)}</div>' if column.note.description else ""
        name = f"<strong>{escape(readable(column.name))}</strong>"
        cells.append(f'<div style="{_CELL}"><div>{name}{words}</div>{picture}</div>')
    return Markup(f'<div style="{_GRID}">{"".join(cells)}</div>')


def _value(column: Column) -> str:
    figures = next(figures for figures in column.sides.values() if figures.documents)
    return f"{readable(column.name)} {figures.least:.6g}"


def _rows(columns: Sequence[Column]) -> list[list[Cell]]:
    rows: list[list[Cell]] = []
    for column in columns:
        kept, lost = column.sides["kept"], column.sides["left out"]
        ends: list[Cell] = [_figure(kept.least), _figure(kept.greatest)] if kept.documents else [None, None]
        missing = kept.missing + lost.missing
        rows.append([column.name, _figure(kept.mean), *ends, _figure(lost.mean), missing, column.note.description])
    return rows


def _figure(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.4g}")
