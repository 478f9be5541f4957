"""Parquet and Arrow tables: each row a document, a batch of rows in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bedplate.data.documents import Document, Failure
from bedplate.data.reading.fields import describe, named_fields
from bedplate.data.reading.files import SourceFile
from bedplate.data.reading.limits import Limits
from bedplate.data.reading.text import decode, too_large
from bedplate.data.source import Source
from bedplate.errors import InputError

_FIX = "Take an undamaged copy, or set on_error=skip to count it as failed and go on."
_BATCH = 256


def read_parquet(
    source: Source,
    file: SourceFile,
    limits: Limits,
    groups: tuple[int, int] | None = None,
    before: int = 0,
    rows: tuple[int, int] | None = None,
) -> Iterator[Document | Failure]:
    """The rows of row groups [first, last), or of all; of these only rows [first, last), where they are given. `before`
    rows come before the first. A file that is damaged, or lacks a column that the source names, is a Failure."""
    try:
        parquet = open_parquet(file)
    except InputError as error:
        yield _unreadable(file, "damaged_file", error, _FIX)
        return
    try:
        check_columns(source, file, parquet)
    except InputError as error:
        yield _unreadable(file, "missing_column", error, error.fix or _FIX)
        return
    columns = list(dict.fromkeys(named_fields(source).values()))
    wanted = list(range(*groups)) if groups is not None else None
    batches = parquet.iter_batches(batch_size=_BATCH, columns=columns, row_groups=wanted)
    yield from _rows(source, file, limits, within(batches, rows), before)


def within(batches: Iterator[Any], rows: tuple[int, int] | None) -> Iterator[Any]:
    """Record batches of those rows that have the numbers [first, last), or of all. Parquet can't be entered but where
    a row group begins."""
    if rows is None:
        yield from batches
        return
    (first, last), at = rows, 0
    for batch in batches:
        begin, end = max(first - at, 0), min(last - at, batch.num_rows)
        if begin < end:
            yield batch.slice(begin, end - begin)
        at += batch.num_rows
        if at >= last:
            return


def read_arrow(source: Source, file: SourceFile, limits: Limits) -> Iterator[Document | Failure]:
    """The rows of an Arrow file, in the streaming format (as Hugging Face's data sets write it) or the other."""
    import pyarrow as pa

    try:
        with file.open() as stream:
            try:
                reader = pa.ipc.open_stream(stream)
                batches = iter(reader)
            except pa.ArrowInvalid:
                stream.seek(0)
                reader = pa.ipc.open_file(stream)
                batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
            try:
                check_columns(source, file, reader)
            except InputError as error:
                yield _unreadable(file, "missing_column", error, error.fix or _FIX)
                return
            yield from _rows(
                source,
                file,
                limits,
                (b.slice(i, _BATCH) for b in batches for i in range(0, b.num_rows, _BATCH)),
                0,
            )
    except (pa.ArrowException, OSError) as error:
        yield Failure(file.name, file.place, "damaged_file", f"not a whole Arrow file: {error}", _FIX, bytes=file.bytes)


def _unreadable(file: SourceFile, reason: str, error: InputError, fix: str) -> Failure:
    return Failure(file.name, file.place, reason, error.problem.removeprefix(f"{file.place}: "), fix, bytes=file.bytes)


def _rows(
    source: Source, file: SourceFile, limits: Limits, batches: Iterator[Any], before: int
) -> Iterator[Document | Failure]:
    import pyarrow as pa

    number, columns = before, list(dict.fromkeys(named_fields(source).values()))
    others = columns[1:] + [c for c in (source.text_field,) if c in columns[1:]]
    try:
        for batch in batches:
            # As bytes: a writer may have put anything in a string column, and one bad row mustn't fail the batch.
            texts = batch.column(source.text_field).cast(pa.large_binary())
            rows = batch.select(others).to_pylist() if others else [{}] * len(texts)
            for value, row in zip(texts, rows, strict=True):
                number += 1
                name = f"{file.name}#{number}"
                size = len(value.as_buffer() or b"") if value.is_valid else 0
                if size > limits.largest:
                    document = too_large(name, size, number - 1)
                else:
                    text = decode(value.as_py() or b"")
                    document = Document(name, text, bytes=size, offset=number - 1)
                    if text is None:
                        document.drop("read", "not_text")
                yield describe(document, row, source, f"{file.place} row {number}")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        yield Failure(
            f"{file.name}#{number + 1}", file.place, "damaged_file", f"damaged after row {number}: {error}", _FIX
        )


def open_parquet(file: SourceFile) -> Any:  # pyarrow has no types
    """pyarrow's reader. Raises InputError where the file isn't a whole one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file.path if file.url is None else file.open())
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file.place}: not a whole Parquet file: {error}", "Take an undamaged copy.") from error


def check_columns(source: Source, file: SourceFile, table: Any) -> None:
    """Raise InputError unless the columns that the source names are there, and those of text and URL hold text."""
    import pyarrow as pa

    schema = table.schema_arrow if hasattr(table, "schema_arrow") else table.schema
    textual = ("text_field", "url_field", "title_field", "license_field", "language_field", "group_field")
    for option, column in named_fields(source).items():
        if column not in schema.names:
            raise InputError(
                f'{file.place}: no column "{column}" (columns: {", ".join(schema.names)})',
                f"Set {option} to the right column.",
            )
        kind = schema.field(column).type
        if option in textual and not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise InputError(
                f'{file.place}: the column "{column}" holds {kind}, not text', f"Set {option} to a text column."
            )
