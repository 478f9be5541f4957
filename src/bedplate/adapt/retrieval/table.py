"""The LanceDB table of an index: chunks with their vectors, searched by vector and by words (BM25).

Embedded: a folder of files, no server and no network. Vectors are compared one by one (exactly) in tables of fewer than
`EXACT_BELOW` chunks; larger ones get an index of partitions, which may miss a few of the nearest.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bedplate.adapt.retrieval.extra import lancedb_module
from bedplate.errors import ArtefactError, StorageError

EXACT_BELOW = 100_000
_NAME = "chunks"
_PROBES = 32  # partitions that an inexact search looks into
_LONGEST_QUERY = 2000  # characters of a query that words are taken from
_COLUMNS = ["id", "document", "start", "end", "body", "headings", "skip", "text", "vector"]


@dataclass(frozen=True)
class Row:
    """A chunk as the table holds it. text: its own, without the context that it was embedded with."""

    id: int
    document: int
    start: int
    end: int
    body: int
    headings: tuple[str, ...]
    text: str
    vector: npt.NDArray[np.float32]
    words: float | None = None


def write_table(
    folder: Path, batches: Iterator[Any], width: int, language: str, *, exact_below: int = EXACT_BELOW
) -> int:
    """Make the table in `folder`, in place of one that an earlier attempt left, and its indexes. Returns its rows.

    batches: pyarrow record batches with the columns of `schema(width)`. Raises StorageError for a folder whose name
    LanceDB can't take.
    """
    kinds = lancedb_module().index
    if folder.exists():
        shutil.rmtree(folder)
    database = _connect(folder)
    table = database.create_table(_NAME, data=batches, schema=schema(width))
    rows = int(table.count_rows())
    plain = language == "other"
    words = kinds.FTS(
        language="English" if plain else language,
        base_tokenizer="icu/split" if plain else "simple",
        stem=not plain,
        remove_stop_words=not plain,
    )
    table.create_index("text", config=words)
    if rows >= exact_below:
        table.create_index("vector", config=kinds.IvfFlat(distance_type="cosine"))
    return rows


def schema(width: int) -> Any:
    """The table's columns. headings: JSON."""
    import pyarrow as pa

    text, number = pa.string(), pa.int64()
    return pa.schema(
        [
            *(("id", number), ("document", number), ("start", number), ("end", number), ("body", number)),
            *(("headings", text), ("skip", number), ("text", text), ("vector", pa.list_(pa.float32(), width))),
        ]
    )


class Table:
    """An open table, for reading."""

    def __init__(self, folder: Path, *, exact_below: int = EXACT_BELOW) -> None:
        """Raises ArtefactError, naming the folder, where there is no whole table."""
        self._folder = folder
        if not (folder / f"{_NAME}.lance").is_dir():
            raise ArtefactError(f"{folder}: no table of chunks in it", "Make the index again.")
        try:
            self._table = _connect(folder).open_table(_NAME)
            self.rows = int(self._table.count_rows())
        except (OSError, ValueError, RuntimeError) as error:
            raise ArtefactError(f"{folder}: can't be opened by LanceDB: {error}", "Make the index again.") from error
        self._exact = self.rows < exact_below

    def nearest(self, vector: npt.NDArray[np.float32], count: int) -> list[Row]:
        """The rows nearest to the vector by cosine, nearest first."""
        query = self._table.search(vector, vector_column_name="vector").distance_type("cosine")
        query = query.bypass_vector_index() if self._exact else query.nprobes(_PROBES)
        return self._rows(query.select([*_COLUMNS, "_distance"]).limit(count))

    def matching(self, text: str, count: int) -> list[Row]:
        """The rows that share words with the text, best BM25 score first. Nothing in the text is an operator."""
        match = lancedb_module().query.MatchQuery(text[:_LONGEST_QUERY], "text")
        query = self._table.search(match, query_type="fts")
        return self._rows(query.select([*_COLUMNS, "_score"]).limit(count))

    def some(self, ids: list[int]) -> list[Row]:
        """The rows with these ids, in the order of ids."""
        if not ids:
            return []
        where = f"id IN ({', '.join(str(int(number)) for number in ids)})"
        found = {row.id: row for row in self._rows(self._table.search().where(where).select(_COLUMNS).limit(len(ids)))}
        return [found[number] for number in ids if number in found]

    def _rows(self, query: Any) -> list[Row]:
        try:
            found = query.to_arrow()
        except (OSError, ValueError, RuntimeError) as error:
            raise ArtefactError(f"{self._folder}: can't be searched: {error}", "Make the index again.") from error
        scores = found.column("_score").to_pylist() if "_score" in found.column_names else [None] * found.num_rows
        vectors = [np.array(vector, dtype=np.float32) for vector in found.column("vector").to_pylist()]
        rows = found.drop_columns([name for name in found.column_names if name not in _COLUMNS[:-1]]).to_pylist()
        return [
            Row(
                row["id"],
                row["document"],
                row["start"],
                row["end"],
                row["body"],
                tuple(json.loads(row["headings"])),
                row["text"][row["skip"] :],
                vector,
                None if score is None else float(score),
            )
            for row, vector, score in zip(rows, vectors, scores, strict=True)
        ]


def _connect(folder: Path) -> Any:
    try:
        return lancedb_module().connect(str(folder.resolve()))
    except ValueError as error:
        raise StorageError(
            f"{folder}: LanceDB can't keep a table under this name: {str(error)[:200]}",
            "Choose a path without control characters.",
        ) from error
