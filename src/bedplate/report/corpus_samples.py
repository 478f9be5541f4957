"""Documents of a corpus to look at: some that each rule left out, some that it only just let through, some others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bedplate.report.corpus_pieces import anywhere
from bedplate.report.corpus_scan import LEFT_OUT, Nearest, Scan
from bedplate.report.corpus_tables import Row, Tables
from bedplate.report.markup import Markup, escape
from bedplate.report.measures import readable
from bedplate.report.page import Page
from bedplate.report.quantities import number_text

SAMPLES = 5
SAMPLE_CHARACTERS = 700
SHORT_CHARACTERS = 240
NAME_CHARACTERS = 160
MOST_REASONS = 60
_MOST_GROUPS = 64
"""Row groups that texts are read from: a large one takes a tenth of a second."""

Found = Mapping[Row, Mapping[str, Any]]


def add_samples(page: Page, tables: Tables, scan: Scan) -> None:
    """Nothing where there are neither documents kept nor any left out."""
    _left_out(page, tables, scan)
    _nearest(page, tables, [near for near in scan.nearest if near.found])
    _kept(page, tables)


def add_document(page: Page, values: Mapping[str, Any], remark: str | None, characters: int) -> None:
    """Where a document is from, its id, a remark, and how its text begins, if that is known."""
    name, title = _cut(values.get("source"), NAME_CHARACTERS), _cut(values.get("title"), NAME_CHARACTERS)
    first = f"<strong>{escape(name or 'not known')}</strong>"
    if title:
        first += f" {escape(title)}"
    if values.get("id"):
        first += f' <span class="note">{escape(values["id"])}</span>'
    if remark:
        first += f"<br>{escape(remark)}"
    page.text(Markup(first))
    text = values.get("text") or values.get("excerpt")
    if text:
        page.code(_cut_lines(_cut(text, characters), characters // 40))


def _left_out(page: Page, tables: Tables, scan: Scan) -> None:
    counts = scan.groups[LEFT_OUT].counts["left out"]
    if not counts:
        return
    total = scan.total["left out"].documents
    page.heading(f"Some of the {total:,} documents that were left out")
    found = tables.fetch(
        [row for rows in scan.drawn.values() for row in rows],
        ("id", "source", "title", "detail", "excerpt"),
        _MOST_GROUPS,
    )
    order = sorted(counts, key=lambda key: (-counts[key].documents, *map(str, key)))
    for key in order[:MOST_REASONS]:
        inside = Page("")
        for row in scan.drawn[key]:
            if row in found:
                add_document(inside, found[row], _cut(found[row].get("detail"), SHORT_CHARACTERS), SHORT_CHARACTERS)
        reason, stage, status = key
        where = f"{readable(stage)}, {status}" if stage else str(status)
        page.fold(anywhere(f"{readable(reason or 'no reason given')} ({where}): {counts[key].documents:,}"), inside)
    if order[MOST_REASONS:]:
        page.text(f"and {len(order) - MOST_REASONS:,} rarer reasons.")


def _nearest(page: Page, tables: Tables, nearest: Sequence[Nearest]) -> None:
    if not nearest:
        return
    rows = [row for near in nearest for *_, row in near.found]
    found = tables.fetch(rows, ("id", "source", "title", "text"), _MOST_GROUPS)
    page.heading("Kept, and nearest to being left out")
    if len(found) < len(set(rows)):
        page.text("Some are left out here: their texts lie too far apart to be read for a page.")
    rules = Page("")
    for near in nearest:
        inside = Page("")
        for _, _, value, row in near.found:
            if row in found:
                remark = f"{readable(near.column)} {number_text(float(f'{value:.6g}'))}; {near.bound.words}"
                add_document(inside, found[row], remark, SHORT_CHARACTERS)
        rules.fold(anywhere(f"{readable(near.bound.rule)}: {near.bound.words}"), inside)
    page.fold(f"by each of {len(nearest)} rules" if len(nearest) > 1 else "by one rule", rules)


def _kept(page: Page, tables: Tables) -> None:
    rows = _spread(tables)
    if not rows:
        return
    page.heading("Some of its documents")
    page.text(f"{len(rows)} from all over the corpus, cut after {SAMPLE_CHARACTERS} characters.")
    found = tables.fetch(rows, ("id", "source", "title", "license", "text"), len(rows))
    for row in rows:
        add_document(page, found[row], _cut(found[row].get("license"), NAME_CHARACTERS), SAMPLE_CHARACTERS)


def _spread(tables: Tables) -> list[Row]:
    """A few rows of the documents that were kept, at even distances, the first among them."""
    total = tables.rows("kept")
    count = min(SAMPLES, total)
    wanted = [number * total // count for number in range(count)]
    rows, before = [], 0
    for number, table in enumerate(tables.all):
        if table.side == "kept":
            rows += [Row(number, place - before) for place in wanted if before <= place < before + table.rows]
            before += table.rows
    return rows


def _cut_lines(text: str, most: int) -> str:
    lines = text.split("\n")
    return text if len(lines) <= most else "\n".join([*lines[:most], "…"])


def _cut(text: object, most: int) -> str:
    if text is None:
        return ""
    text = str(text)
    return text if len(text) <= most else text[:most] + "…"
