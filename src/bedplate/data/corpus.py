"""The corpus on disk: its columns, how it is written so that equal documents give equal bytes, and how it is read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bedplate.errors import ArtefactError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from bedplate.ledger import Artefact

CORPUS_SCHEMA = {
    "id": "string",
    "text": "string",
    "source": "string",
    "label": "string",
    "url": "string",
    "domain": "string",
    "title": "string",
    "date": "string",
    "license": "string",
    "language": "string",
    "split": "string",
    "bytes": "int64",
    "sha256": "string",
    "offset": "int64",
    "record_sha256": "string",
    "group": "string",
    "cluster": "string",
    "copies": "int32",
    "synthetic": "string",
    "metadata": "string",
    "picture": "string",
    "images": "string",
}
"""What every corpus has; the stages of its curation add their own columns after these.

id: the first 24 digits of the `identity` of its text and picture, before stages that look at all documents cut anything
out of the text; sha256: of the UTF-8 text as it is here; source: where it came from, the same on every machine; label:
that of the recipe's source; date: when it was fetched or written; bytes: of the text as UTF-8; split: train or
validation; offset, record_sha256: of the record that it was made from; group: what the source says must share a split,
or where it says nothing the picture; cluster: what was found to be so alike that it must; copies: how often training
sees it where another is seen once; synthetic: JSON, what wrote it and from what, null for what people wrote; metadata:
JSON, what it says of itself; picture: the SHA-256 of its picture's bytes, null where it has none; images: JSON, the
pictures' paths within the source, null where it has none. Pictures themselves stay where the source has them.
"""

DROPPED = "dropped"
DROPPED_SCHEMA = {
    "id": "string",
    "source": "string",
    "label": "string",
    "url": "string",
    "domain": "string",
    "title": "string",
    "date": "string",
    "license": "string",
    "language": "string",
    "status": "string",
    "stage": "string",
    "reason": "string",
    "detail": "string",
    "other": "string",
    "bytes": "int64",
    "sha256": "string",
    "offset": "int64",
    "record_sha256": "string",
    "group": "string",
    "metadata": "string",
    "picture": "string",
    "images": "string",
    "excerpt": "string",
}
"""Of each document that isn't in the corpus. status: dropped (the configuration says so) or failed (it couldn't be
worked on); stage: which did; other: the id of the document that it is a copy of, which stayed when this one went. A
later stage may have left that one out too: then it is a row here itself, whose `other`, if it has one, goes on from
there, and never in a circle. excerpt: the beginning of its text, but not of what was left out for whose it is or whom
it is about."""

_GROUP_ROWS = 1024
_GROUP_BYTES = 32 << 20
_FILE_BYTES = 1 << 30


def identity(sha256: str, picture: str | None) -> str:
    """What tells a document from others, 64 digits: its text's SHA-256, or with a picture that of both of theirs."""
    return sha256 if picture is None else hashlib.sha256(f"{sha256} {picture}".encode()).hexdigest()


class ParquetTable:
    """Writes rows as Parquet with row groups, and for large tables files, that depend on the rows alone.

    Files are NAME-00000.parquet and so on, or NAME.parquet if `single`. A group holds `group_bytes` of text at most, or
    one document.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        schema: Mapping[str, str],
        *,
        single: bool = False,
        group_bytes: int = _GROUP_BYTES,
    ) -> None:
        import pyarrow as pa

        self._folder, self._name, self._single, self._group_limit = folder, name, single, group_bytes
        self._schema = pa.schema([(column, pa.type_for_alias(kind)) for column, kind in schema.items()])
        self._rows: list[dict[str, Any]] = []
        self._group_bytes = self._file_bytes = self._files = 0
        self._writer: Any = None

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self._group_bytes += len(row.get("text") or "") + 256
        if len(self._rows) == _GROUP_ROWS or self._group_bytes >= self._group_limit:
            self._flush()

    def __enter__(self) -> ParquetTable:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            if self._rows or not self._files:  # an empty table is a file too
                self._flush()
            self._close()
        elif self._writer is not None:
            self._close()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._writer is None:
            file = f"{self._name}.parquet" if self._single else f"{self._name}-{self._files:05d}.parquet"
            self._writer = pq.ParquetWriter(self._folder / file, self._schema, compression="zstd")
            self._files += 1
        table = pa.Table.from_pylist(self._rows, self._schema)
        self._file_bytes += self._group_bytes
        self._rows, self._group_bytes = [], 0  # the texts are in the table now; writing it takes them once more
        self._writer.write_table(table, row_group_size=_GROUP_ROWS)
        if self._file_bytes >= _FILE_BYTES and not self._single:
            self._close()

    def _close(self) -> None:
        writer, self._writer, self._file_bytes = self._writer, None, 0
        if writer is not None:
            writer.close()


def read_corpus(
    artefact: Artefact, columns: Sequence[str], split: str | None = None, *, chunk_bytes: int = 2 << 20
) -> Iterator[dict[str, list[Any]]]:
    """The corpus in order, a chunk of about `chunk_bytes` of text at a time: {column: values}. `split` leaves out the
    other one.

    Raises ArtefactError, naming the file, for a file that is missing or damaged.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = list(dict.fromkeys([*columns, "split", "bytes"]))
    paths = sorted(artefact.path.glob("part-*.parquet"))
    if not paths:
        raise ArtefactError(f"{artefact.path}: no part-*.parquet in it", "Make the corpus again.")
    for path in paths:
        try:
            for batch in pq.ParquetFile(path).iter_batches(batch_size=_GROUP_ROWS, columns=wanted):
                if split is not None:
                    batch = batch.filter(pc.equal(batch.column("split"), split))
                for start, end in _chunks(batch.column("bytes").to_numpy(), chunk_bytes):
                    piece = batch.slice(start, end - start)
                    yield {column: piece.column(column).to_pylist() for column in columns}
        except (pa.ArrowException, OSError) as error:
            raise ArtefactError(
                f"{path}: not a whole Parquet file of a corpus: {error}", "Make the corpus again."
            ) from error


def _chunks(sizes: npt.NDArray[np.int64], limit: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows that begin a new one when `limit` bytes are reached."""
    start = size = 0
    for row, row_size in enumerate(sizes.tolist(), 1):
        size += row_size
        if size >= limit:
            yield start, row
            start, size = row, 0
    if start < len(sizes):
        yield start, len(sizes)
