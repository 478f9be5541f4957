"""What a corpus holds, as a part of its page: documents and bytes by split, licence, language, source, and samples.

The Parquet files are read column by column and, for the samples, no further than needed: a corpus may be far larger
than memory.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from bedplate.console.figures import bytes_text
from bedplate.errors import ArtefactError
from bedplate.ledger import Artefact
from bedplate.report.page import Cell, Page

GROUPINGS = ("split", "license", "language", "source")
MOST_GROUPS = 20
SAMPLES = 5
SAMPLE_CHARACTERS = 700
LEFT_OUT_EACH = 3
BATCH_ROWS = 16_384

DOCUMENTS, LEFT_OUT = {"text", "bytes"}, {"status", "reason"}
"""The columns that tell a table of documents from one of what became of the others."""


@dataclass
class _Count:
    documents: int = 0
    bytes: int = 0


def add_corpus(page: Page, artefact: Artefact) -> None:
    """Counts and samples of the corpus, below what the page has. Raises ArtefactError for a broken Parquet file."""
    files = [artefact.file(output.path) for output in artefact.manifest.outputs if output.path.endswith(".parquet")]
    page.heading("What is in it")
    for grouping in GROUPINGS:
        counts = _count(files, grouping, artefact.measures.get("sources", {}))
        if counts:
            _group_table(page, grouping, counts)
    _left_out(page, files)
    samples = list(_samples(files))
    if samples:
        page.heading("Some of its documents")
        page.text(f"The first {len(samples)}, cut after {SAMPLE_CHARACTERS} characters.")
    for name, text in samples:
        page.heading(name, level=3)
        page.code(text[:SAMPLE_CHARACTERS] + ("…" if len(text) > SAMPLE_CHARACTERS else ""))


def _group_table(page: Page, grouping: str, counts: dict[str, _Count]) -> None:
    largest = sorted(counts.items(), key=lambda item: (-item[1].bytes, item[0]))
    rows: list[list[Cell]] = [[name, count.documents, bytes_text(count.bytes)] for name, count in largest[:MOST_GROUPS]]
    rest = [count for _, count in largest[MOST_GROUPS:]]
    if rest:
        rows.append([f"{len(rest):,} others", sum(c.documents for c in rest), bytes_text(sum(c.bytes for c in rest))])
    page.table([grouping, "documents", "size"], rows, caption=f"By {grouping}, largest first", right=["size"])


def _count(files: list[Path], grouping: str, labels: Container[str]) -> dict[str, _Count]:
    """Documents and bytes by the value of one column; empty where the corpus hasn't got it. labels: its sources'."""
    counts: dict[str, _Count] = {}
    for columns in _batches(files, (grouping, "bytes"), like=DOCUMENTS):
        for value, size in zip(columns[grouping], columns["bytes"], strict=True):
            name = "not known" if value is None else str(value)
            if grouping == "source":
                name = _label(name, labels)
            count = counts.setdefault(name, _Count())
            count.documents += 1
            count.bytes += size or 0
    return counts


def _label(source: str, labels: Container[str]) -> str:
    """The source that a document is from: "x.jsonl" for "x.jsonl#11", "books" for "books/a/b.txt#2"."""
    label, inside, _ = source.partition("/")
    return label if inside or label in labels else re.sub(r"#\d+$", "", label)


def _samples(files: list[Path]) -> Iterator[tuple[str, str]]:
    """(source, text) of the first few documents."""
    left = SAMPLES
    for columns in _batches(files, ("source", "text"), like=DOCUMENTS, rows=SAMPLES):
        for source, text in zip(columns["source"], columns["text"], strict=True):
            if left == 0:
                return
            left -= 1
            yield str(source), text or ""


def _left_out(page: Page, files: list[Path]) -> None:
    """A few of the documents that were dropped or failed, for each reason."""
    seen: Counter[str] = Counter()
    rows: list[list[Cell]] = []
    names = ("status", "reason", "source", "detail")
    for columns in _batches(files, names, like=LEFT_OUT):
        for status, reason, source, detail in zip(*(columns[name] for name in names), strict=True):
            seen[reason] += 1
            if seen[reason] <= LEFT_OUT_EACH:
                rows.append([status, reason, source, detail or ""])
    if rows:
        inside = Page("")
        inside.table(list(names), sorted(rows, key=lambda row: (str(row[0]), str(row[1]))))
        page.fold(f"Some of the {seen.total():,} documents that were left out", inside)


def _batches(
    files: list[Path], names: tuple[str, ...], *, like: set[str], rows: int = BATCH_ROWS
) -> Iterator[dict[str, list[Any]]]:
    """The named columns of every table that has them and the columns `like`, some rows at a time."""
    for path in files:
        try:
            with pq.ParquetFile(path) as table:
                if not like | set(names) <= set(table.schema_arrow.names):
                    continue
                for batch in table.iter_batches(batch_size=rows, columns=list(names)):
                    yield batch.to_pydict()
        except (OSError, ValueError) as error:  # pyarrow's own errors are of these
            raise ArtefactError(f"{path}: can't be read as Parquet: {error}", "Make the corpus again.") from error
