"""Finding documents in a corpus and among what was left out of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedplate.data.corpus import DROPPED
from bedplate.errors import ArtefactError, InputError
from bedplate.ledger import Artefact

_HEX = re.compile(r"[0-9a-f]{8,64}")
MOST = 50
"""Documents that one question finds at most."""


@dataclass(frozen=True)
class Found:
    """A document of a corpus, or one that was left out. file, row: where it stands there."""

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


def tables(corpus: Artefact) -> list[Path]:
    """The corpus's files with documents, and the table of what was left out, last."""
    parts = sorted(corpus.path.glob("part-*.parquet"))
    dropped = corpus.path / f"{DROPPED}.parquet"
    if not parts:
        raise ArtefactError(f"{corpus.path}: no part-*.parquet in it", "Make the corpus again.")
    return [*parts, *([dropped] if dropped.is_file() else [])]


def _matching(path: Path, wanted: str) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = [name for name in ("id", "sha256", "url", "source") if name in file.schema_arrow.names]
            first = 0
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, columns=names)
                hits = pc.equal(table.column("source"), wanted)
                if "url" in names:
                    hits = pc.or_(hits, pc.fill_null(pc.equal(table.column("url"), wanted), False))
                if _HEX.fullmatch(wanted):
                    starts = pc.starts_with(table.column("sha256"), pattern=wanted)
                    hits = pc.or_(hits, pc.fill_null(starts, False))
                places = pc.indices_nonzero(hits).to_pylist()
                if places:
                    rows = file.read_row_group(group).take(pa.array(places)).to_pylist()
                    yield from zip((first + place for place in places), rows, strict=True)
                first += len(table)
    except (pa.ArrowException, OSError) as error:
        raise ArtefactError(f"{path}: not a whole Parquet file of a corpus: {error}", "Make the corpus again.") from error
