"""The kept documents of a corpus that was made before, with all that is known of them."""

from __future__ import annotations

import json
from collections.abc import Iterator

from bedplate.data.corpus import CORPUS_SCHEMA
from bedplate.data.documents import Document, Failure
from bedplate.data.reading.files import SourceFile
from bedplate.data.reading.parquet import open_parquet, within
from bedplate.errors import InputError

PARTS = "part-*.parquet"
_FIELDS = ("source", "text", "url", "title", "date", "license", "language", "offset", "record_sha256", "group",
           "synthetic", "label", "bytes")  # fmt: skip
_DERIVED = (*_FIELDS, "domain", "metadata")


def read_corpus_part(
    file: SourceFile, groups: tuple[int, int] | None, rows: tuple[int, int] | None = None
) -> Iterator[Document | Failure]:
    """The documents of a part, or of some of its row groups, or of some rows of these. Columns of its own stages, and
    its id, sha256, picture, split, cluster and copies, are in `columns`."""
    import pyarrow as pa

    place = file.place
    fix = "Make that corpus again."
    try:
        parquet = open_parquet(file)
    except InputError as error:
        yield Failure(file.name, place, "damaged_file", error.problem.removeprefix(f"{place}: "), fix, file.bytes)
        return
    first, end = groups or (0, parquet.num_row_groups)
    number = 0
    try:
        for batch in within(parquet.iter_batches(batch_size=256, row_groups=list(range(first, end))), rows):
            for row in batch.to_pylist():
                number += 1
                columns = {name: value for name, value in row.items() if name not in _DERIVED}
                metadata = json.loads(row["metadata"]) if row.get("metadata") else {}
                fields = {name: row[name] for name in _FIELDS if name in row}
                images = tuple(json.loads(row["images"])) if row.get("images") else ()
                yield Document(**fields, metadata=metadata, images=images, columns=columns)
    except (pa.ArrowException, OSError, ValueError) as error:
        yield Failure(file.name, place, "damaged_file", f"damaged after row {number}: {error}", fix)


def carried_columns(file: SourceFile) -> dict[str, str]:
    """The columns that the corpus's own stages added, {name: pyarrow's name of the type}."""
    return {field.name: str(field.type) for field in open_parquet(file).schema_arrow if field.name not in CORPUS_SCHEMA}
