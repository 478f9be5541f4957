"""What a corpus holds, and what it doesn't and why, as a part of its page.

The Parquet files are read column by column, each that is needed once, and texts no further than they are shown: a
corpus may be far larger than memory. What a corpus has no columns or measures of is left out of its page.
"""

from __future__ import annotations

import re
from collections.abc import Container
from pathlib import Path

from bedplate.ledger import Artefact
from bedplate.report.corpus_duplicates import CLUSTERS, COPIES, add_duplicates
from bedplate.report.corpus_funnel import add_funnel
from bedplate.report.corpus_groups import GROUPINGS, NOT_KNOWN, SPLITS, add_findings, add_groups
from bedplate.report.corpus_notes import Notes
from bedplate.report.corpus_samples import add_samples
from bedplate.report.corpus_scan import Count, columns_of_numbers, scan
from bedplate.report.corpus_signals import add_signals
from bedplate.report.corpus_tables import Tables
from bedplate.report.page import Page

SHOWN = ("stages", "joint", "documents", "bytes", "licenses", "languages", "domains", "decontaminate")
"""Measures that this part shows in forms of its own; the rest is for `report.measures`."""

_NOT_MEASURED = dict.fromkeys(("offset", "copies", "phase"))
"""Columns of numbers that say nothing of a text."""


def add_corpus(page: Page, artefact: Artefact, notes: Notes | None = None) -> None:
    """All that is known of the corpus, below what the page has. notes: what its columns say, and the rules on them.

    Raises ArtefactError for a broken Parquet file.
    """
    tables = Tables.of(artefact)
    kinds = tables.columns()
    groups = [group for group in (*GROUPINGS, COPIES, CLUSTERS) if group[0] in kinds]
    found = scan(tables, groups, columns_of_numbers(tables, _NOT_MEASURED), notes or {})
    by_source = {}
    if SPLITS not in groups:
        paths = [table.path for table in tables.all if table.side == "kept"]
        by_source = _count(paths, "source", artefact.measures.get("sources", {}))
    add_funnel(page, artefact.measures, found)
    page.heading("What is in it")
    add_groups(page, found, by_source)
    add_findings(page, artefact.measures, found)
    add_duplicates(page, artefact.measures, tables, found)
    add_signals(page, found)
    add_samples(page, tables, found)


def _count(files: list[Path], grouping: str, labels: Container[str]) -> dict[str, Count]:
    """Documents and bytes by the value of one column; empty where the corpus hasn't got it. labels: its sources'."""
    counts: dict[str, Count] = {}
    for _, _, batch in Tables(files).batches((grouping, "bytes"), "kept"):
        if grouping not in batch.schema.names:
            continue
        columns = batch.to_pydict()
        for value, size in zip(columns[grouping], columns["bytes"], strict=True):
            name = NOT_KNOWN if value is None else str(value)
            if grouping == "source":
                name = _label(name, labels)
            counts.setdefault(name, Count()).add(Count(1, size or 0))
    return counts


def _label(source: str, labels: Container[str]) -> str:
    """The source that a document is from: "x.jsonl" for "x.jsonl#11", "books" for "books/a/b.txt#2"."""
    label, inside, _ = source.partition("/")
    return label if inside or label in labels else re.sub(r"#\d+$", "", label)
