"""The largest groups of documents that a corpus says are copies of one another, with some of their members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bedplate.report.corpus_pieces import anywhere
from bedplate.report.corpus_samples import SHORT_CHARACTERS, add_document
from bedplate.report.corpus_scan import Count, Key, Scan
from bedplate.report.corpus_tables import Row, Side, Tables
from bedplate.report.measures import is_number, readable, scalar
from bedplate.report.page import Page

COPIES, CLUSTERS = ("other",), ("cluster",)
MOST_GROUPS, MEMBERS = 8, 4
_READ_GROUPS = 64
_STEPS = ("exact", "minhash", "substring", "embeddings", "images", "clusters")


def add_duplicates(page: Page, measures: Mapping[str, Any], tables: Tables, scan: Scan) -> None:
    """Copies that were left out by the document that stayed, and documents kept that are so alike that they share a
    split. Nothing where the corpus knows of neither."""
    joint = {name: value for name, value in (measures.get("joint") or {}).items() if name in _STEPS}
    copies, clusters = _largest(scan, COPIES, "left out", 1), _largest(scan, CLUSTERS, "kept", 2)
    if not joint and not copies and not clusters:
        return
    page.heading("Duplicates")
    if joint:
        page.facts({readable(step): _figures(figures) for step, figures in joint.items()})
    if not copies and not clusters:
        page.text("No copies were found.")
        return
    gone, alike = _members(tables, "left out", "other", copies), _members(tables, "kept", "cluster", clusters)
    stayed = _members(tables, "kept", "id", copies) if copies else {}
    rest = {name: count for name, count in copies.items() if name not in stayed}
    later = _members(tables, "left out", "id", rest, besides="other")
    columns = ("id", "source", "title", "reason", "detail", "text", "excerpt")
    rows_wanted = [row for found in (gone, alike, stayed, later) for rows in found.values() for row in rows]
    found = tables.fetch(rows_wanted, columns, _READ_GROUPS)
    if copies:
        page.heading("Copies that were left out", level=3)
    for name, count in copies.items():
        inside = Page("")
        origin = [*stayed.get(name, ()), *later.get(name, ())][:1]
        for row in origin:
            if row in found:
                remark = "stayed" if name in stayed else "was left out itself, later"
                add_document(inside, found[row], remark, SHORT_CHARACTERS)
        _add(inside, gone.get(name, []), found)
        _rest(inside, count, len(gone.get(name, [])))
        page.fold(anywhere(f"{_many(count, 'copy', 'copies')} of {_called(origin, found) or name}"), inside)
    if clusters:
        page.heading("Alike, and so in one split", level=3)
    for name, count in clusters.items():
        inside = Page("")
        _add(inside, alike.get(name, []), found)
        _rest(inside, count, len(alike.get(name, [])))
        page.fold(anywhere(f"{count:,} documents like {_called(alike.get(name, []), found) or name}"), inside)


def _figures(figures: Mapping[str, Any]) -> str:
    """In words: "groups 68, largest group 4"."""
    shown = {readable(name): scalar(value) for name, value in figures.items()}
    return ", ".join(f"{name} {value:,}" if is_number(value) else f"{name} {value}" for name, value in shown.items())


def _largest(scan: Scan, group: tuple[str, ...], side: Side, least: int) -> dict[str, int]:
    """Value -> documents, largest first."""
    groups = scan.groups.get(group)
    counts: dict[Key, Count] = {} if groups is None else groups.counts[side]
    named = [(key[0], count.documents) for key, count in counts.items() if key[0] is not None]
    chosen = sorted(((n, c) for n, c in named if c >= least), key=lambda item: (-item[1], item[0]))
    return dict(chosen[:MOST_GROUPS])


def _members(
    tables: Tables, side: Side, column: str, values: Mapping[str, int], *, besides: str = ""
) -> dict[str, list[Row]]:
    """The first few rows that have each of the values, and not in the column `besides` too: an exact copy has the id of
    what it is a copy of."""
    found: dict[str, list[Row]] = {}
    if not values or column not in tables.columns(side):
        return found
    wanted = pa.array(list(values), pa.string())
    for table, first, batch in tables.batches((column, besides), side):
        strings = batch.column(column).cast(pa.string())
        chosen = pc.is_in(strings, value_set=wanted)
        if besides in batch.schema.names:
            chosen = pc.and_(chosen, pc.fill_null(pc.not_equal(batch.column(besides), strings), True))
        rows = np.flatnonzero(chosen.to_numpy(zero_copy_only=False))
        for row, value in zip(rows.tolist(), strings.take(pa.array(rows)).to_pylist(), strict=True):
            if len(found.setdefault(value, [])) < MEMBERS:
                found[value].append(Row(table, first + row))
    return found


def _add(page: Page, rows: list[Row], found: Mapping[Row, Mapping[str, Any]]) -> None:
    for row in rows:
        if row in found:
            values = found[row]
            said = [readable(values["reason"])] if values.get("reason") else []
            remark = ": ".join([*said, *([values["detail"]] if values.get("detail") else [])])
            add_document(page, values, remark[:SHORT_CHARACTERS], SHORT_CHARACTERS)


def _rest(page: Page, count: int, shown: int) -> None:
    if shown < count:
        page.text(f"and {count - shown:,} more.")


def _called(rows: list[Row], found: Mapping[Row, Mapping[str, Any]]) -> str:
    name = next((str(found[row].get("source") or "") for row in rows if row in found), "")
    return name if len(name) <= 80 else name[:80] + "…"


def _many(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"
