"""Parquet and Arrow tables: each row a document, a batch of rows in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bedplate.data.documents import Document, Failure
from bedplate.data.reading.fields import describe, named_fields
from bedplate.data.reading.files import SourceFile
from bedplate.data.reading.limits import Limits
from bedplate.data.reading.parquet_pages import PageError, plan
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
    wanted = range(*groups) if groups is not None else range(parquet.metadata.num_row_groups)
    batches = _batches(file, parquet, columns, wanted)
    yield from _rows(source, file, limits, within(batches, rows), before)


def _batches(file: SourceFile, parquet: Any, columns: list[str], groups: range) -> Iterator[Any]:
    """Record batches of the row groups, each of so few rows that they can be held whatever their pages unpack to.
    Raises PageError, OSError, pyarrow's errors."""
    import pyarrow.parquet as pq

    for group in groups:
        with file.open() as stream:
            how = plan(stream, parquet.metadata.row_group(group), columns)
        if not how.dictionaries:
            yield from parquet.iter_batches(batch_size=how.rows, columns=columns, row_groups=[group])
            continue
        with file.open() as stream, pq.ParquetFile(stream, read_dictionary=list(how.dictionaries)) as kept:
            yield from kept.iter_batches(batch_size=how.rows, columns=columns, row_groups=[group])


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
            texts, further = batch.column(source.text_field), [(name, batch.column(name)) for name in others]
            for place in range(batch.num_rows):
                number += 1
                name = f"{file.name}#{number}"
                # As bytes: a writer may have put anything in a string column, and one bad row mustn't fail the batch.
                data = _bytes(texts[place])
                size = len(data) if data is not None else 0
                row, long = dict[str, Any](), False
                for column, values in further:
                    value = values[place]
                    said = _bytes(value)
                    if said is not None and len(said) > limits.largest:
                        size, long = max(size, len(said)), True
                    else:
                        row[column] = value.as_py()
                if long or size > limits.largest:
                    document = too_large(name, size, number - 1)
                else:
                    text = decode(data.to_pybytes() if data is not None else b"")
                    document = Document(name, text, bytes=size, offset=number - 1)
                    if text is None:
                        document.drop("read", "not_text")
                yield describe(document, row, source, f"{file.place} row {number}")
    except (pa.ArrowException, PageError, OSError, UnicodeDecodeError, OverflowError, ValueError) as error:
        yield Failure(
            f"{file.name}#{number + 1}", file.place, "damaged_file", f"damaged after row {number}: {error}", _FIX
        )


def _bytes(value: Any) -> Any:
    """The buffer of a value that is text or bytes, in a dictionary or not; None for any other."""
    import pyarrow as pa

    if isinstance(value, pa.DictionaryScalar) and value.is_valid:
        value = value.value
    return value.as_buffer() if isinstance(value, pa.BinaryScalar) and value.is_valid else None


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
        if pa.types.is_nested(kind):
            raise InputError(
                f'{file.place}: the column "{column}" holds {kind}, not one value', f"Set {option} to another column."
            )
