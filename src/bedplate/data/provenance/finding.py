"""Finding documents in a corpus and among what was left out of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedplate.data.corpus import DROPPED
from bedplate.errors import ArtefactError, InputError
from bedplate.ledger import Artefact

_HEX = re.compile(r"[0-9a-f]{8,64}")
_KNOWN_BY = ("id", "sha256", "record_sha256", "url", "source")
MOST = 50
"""Documents that one question finds at most."""
_BATCH = 1024


@dataclass(frozen=True)
class Found:
    """A document of a corpus, or one that was left out. file, number: where it stands, rows counted from 0."""

    row: dict[str, Any]
    file: str
    number: int
    kept: bool


def find_documents(corpus: Artefact, key: str) -> list[Found]:
    """The documents with this id, beginning of an id or sha256 (8 digits or more), URL or source name; kept ones first.

    Reads the columns that name documents, and the other columns of what it finds. Raises InputError if there is none.
    """
    wanted = key.strip()
    found = [
        Found(row, path.name, number, path.name != f"{DROPPED}.parquet")
        for path in tables(corpus)
        for number, row in _matching(path, wanted)
    ]
    if not found:
        raise InputError(
            f"{corpus.path}: no document is called {key!r}, neither kept nor left out",
            "Give an id or its first 8 digits, a URL as the source has it, or a source name such as crawl.warc.gz#17.",
        )
    return found[:MOST]


def copies_of(corpus: Artefact, document_id: str) -> list[dict[str, Any]]:
    """What was left out in favour of this document: id, source, url, stage, reason of each, MOST at most."""
    path = corpus.path / f"{DROPPED}.parquet"
    names = ("id", "source", "url", "stage", "reason", "detail", "other")
    rows = rows_of(path, names) if path.is_file() else iter(())
    found = [{name: row[name] for name in names[:-1]} for row in rows if row["other"] == document_id]
    return found[:MOST]


def tables(corpus: Artefact) -> list[Path]:
    """The corpus's files with documents, and the table of what was left out, last."""
    parts = sorted(corpus.path.glob("part-*.parquet"))
    dropped = corpus.path / f"{DROPPED}.parquet"
    if not parts:
        raise ArtefactError(f"{corpus.path}: no part-*.parquet in it", "Make the corpus again.")
    return [*parts, *([dropped] if dropped.is_file() else [])]


def rows_of(path: Path, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
    """The rows of a corpus's file with these columns, those that it lacks None. Raises ArtefactError if damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            present = [name for name in columns if name in file.schema_arrow.names]
            missing = dict.fromkeys(name for name in columns if name not in present)
            for batch in file.iter_batches(batch_size=_BATCH, columns=present):
                for row in batch.to_pylist():
                    yield {**missing, **row}
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error


def damaged(path: Path, error: Exception) -> ArtefactError:
    """What is raised for a file that isn't what it should be."""
    return ArtefactError(f"{path}: not a whole Parquet file of a corpus: {error}", "Make the corpus again.")


def _matching(path: Path, wanted: str) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = [name for name in _KNOWN_BY if name in file.schema_arrow.names]
            first = 0
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=names)
                tests = [pc.equal(table.column(name), wanted) for name in names if name in ("url", "source")]
                if _HEX.fullmatch(wanted):
                    hashes = [name for name in names if name not in ("url", "source")]
                    tests += [pc.starts_with(table.column(name), pattern=wanted) for name in hashes]
                hits = {place for test in tests for place in pc.indices_nonzero(pc.fill_null(test, False)).to_pylist()}
                if hits:
                    places = sorted(hits)
                    rows = file.read_row_group(group).take(pa.array(places)).to_pylist()
                    yield from zip((first + place for place in places), rows, strict=True)
                first += len(table)
    except (pa.ArrowException, OSError) as error:
        raise damaged(path, error) from error
